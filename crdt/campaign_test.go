package crdt_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// decoder is one that takes bytes from outside, with a source of mutants for it.
type decoder struct {
	name   string
	mutant func(rng *rand.Rand) []byte
	decode func([]byte) error
}

func decoders(t *testing.T, rng *rand.Rand) []decoder {
	var changes [][]byte
	for range 4 {
		for _, core := range coreHistory(t, rng, 20) {
			c, err := crdt.ParseChange(core.Save())
			require.NoError(t, err)
			changes = append(changes, unseal(c.Raw()))
		}
	}
	documents := documentSeeds(t, rng)
	texts := func(seeds ...string) func(*rand.Rand) []byte {
		return func(rng *rand.Rand) []byte {
			return mutate(rng, []byte(seeds[rng.IntN(len(seeds))]), []byte(seeds[rng.IntN(len(seeds))]))
		}
	}
	change := func(rng *rand.Rand) []byte {
		return mutate(rng, changes[rng.IntN(len(changes))], changes[rng.IntN(len(changes))])
	}
	packed := packedSeeds(t)
	parseChange := func(b []byte) error { _, err := crdt.ParseChange(b); return err }
	return []decoder{
		{"change", func(rng *rand.Rand) []byte { return seal(change(rng)) }, parseChange},
		{"deflated change", deflatedMutants(t, change), parseChange},
		{"document", func(rng *rand.Rand) []byte {
			return mutateDocument(t, rng, documents[rng.IntN(len(documents))], documents[rng.IntN(len(documents))])
		}, func(b []byte) error { _, err := crdt.ParseChunks(b); return err }},
		{"packed change", func(rng *rand.Rand) []byte {
			return mutate(rng, packed[rng.IntN(len(packed))], packed[rng.IntN(len(packed))])
		}, func(b []byte) error {
			if unpackAll(t, b) == 0 {
				return errors.New("refused")
			}
			return nil
		}},
		{"policy", texts(`{"version":1,"default":"lww","fields":[{"field":"a.b","resolver":"concat: / "},{"field":"items[*].price","resolver":"max"}]}`,
			`{"default":"prefer:a0,a1","fields":[{"field":"*","resolver":"sum"}]}`, `{"default":"whole-record-lww"}`),
			func(b []byte) error {
				p, err := crdt.ParsePolicy(b)
				if err == nil {
					_, err = p.View(crdt.ReplicaID{})
				}
				return err
			}},
		{"cursor", texts("s", "e", "12@0123456789abcdef", "4294967295@00+", "1@ffffffffffffffffffffffffffffffff"),
			func(b []byte) error { _, err := crdt.ParseAnchor(string(b)); return err }},
		{"path", texts("a.b[2].c", `["a.b"][0].x`, `["\u00e9\n"]`, "[12][0]", "a"),
			func(b []byte) error { _, err := crdt.ParsePath(string(b)); return err }},
		{"JSON", texts(`{"a":[1,2.5,-3e2,{"$counter":5}],"b":{"$time":"2026-11-21T10:00:00.000Z"},"c":"\ud83d\ude00","d":{"$bytes":"AAE="}}`,
			`[[[[[[{"$map":{"$text":"x"}}]]]]]]`, `18446744073709551615`),
			func(b []byte) error { _, err := crdt.ParseJSON(b); return err }},
	}
}

// deflatedMutants returns a source of compressed chunks with the data of a mutant,
// or with a damaged stream.
func deflatedMutants(t *testing.T, data func(*rand.Rand) []byte) func(*rand.Rand) []byte {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	require.NoError(t, err)
	return func(rng *rand.Rand) []byte {
		var packed bytes.Buffer
		w.Reset(&packed)
		plain := data(rng)
		_, err := w.Write(plain)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		stream := packed.Bytes()
		if rng.IntN(4) == 0 {
			stream = mutate(rng, stream, []byte{0, 0x7f, 0xff})
		}
		return deflatedChunk(plain, stream)
	}
}

// TestDecodersTakeAnything feeds mutants to every decoder in turn: none may panic,
// take over a second, or allocate more than 64 MB above its input. GODWIT_MUTANTS
// sets how many there are, GODWIT_SEED where they begin.
func TestDecodersTakeAnything(t *testing.T) {
	mutants, seed := 30_000, uint64(1)
	if n, err := strconv.Atoi(os.Getenv("GODWIT_MUTANTS")); err == nil {
		mutants = n
	}
	if n, err := strconv.Atoi(os.Getenv("GODWIT_SEED")); err == nil {
		seed = uint64(n)
	}
	rng := seeded(t, seed)
	all := decoders(t, rng)
	const batch = 50
	taken, slowest, largest := map[string]int{}, time.Duration(0), uint64(0)
	for done := 0; done < mutants; done += batch {
		d := all[done/batch%len(all)]
		inputs := make([][]byte, batch)
		for i := range inputs {
			inputs[i] = d.mutant(rng)
		}
		took, allocated, ok := feed(d, inputs)
		taken[d.name] += ok
		if took > time.Second || allocated > 64<<20 { // a busy machine, many small ones: or one of them?
			for _, in := range inputs {
				took, allocated, _ := feed(d, [][]byte{in})
				require.Less(t, took, slowdown*time.Second, "%s: %x", d.name, in)
				require.LessOrEqual(t, allocated, uint64(64<<20+len(in)), "%s: %x", d.name, in)
				slowest, largest = max(slowest, took), max(largest, allocated)
			}
			continue
		}
		slowest, largest = max(slowest, took), max(largest, allocated)
	}
	summary := ""
	for _, d := range all {
		summary += fmt.Sprintf(" %s %d,", d.name, taken[d.name])
		require.NotZero(t, taken[d.name], d.name)
	}
	t.Logf("%d mutants, accepted:%s slowest batch or mutant %v, most allocated %d", mutants, summary, slowest, largest)
}

// feed decodes the inputs and returns the time and memory that took, and how many
// were accepted.
func feed(d decoder, inputs [][]byte) (took time.Duration, allocated uint64, accepted int) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	for _, in := range inputs {
		if d.decode(in) == nil {
			accepted++
		}
	}
	took = time.Since(start)
	runtime.ReadMemStats(&after)
	return took, after.TotalAlloc - before.TotalAlloc, accepted
}
