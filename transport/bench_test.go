package transport_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// catchUp is what a cold sync of records is made of: records with five fields,
// each created and then updated three times, in the order of a log into which
// all were imported before they were edited. The core authors the changes, as
// the reference for what they look like.
func catchUp(tb testing.TB, records int) []transport.Set {
	docs := make([]*automerge.Doc, records)
	actor := crdt.ReplicaID{1, 2, 3, 4, 5, 6, 7, 8}.Actor([8]byte{9, 8, 7, 6, 5, 4, 3, 2})
	var sets []transport.Set
	commit := func(i int) {
		hash, err := docs[i].Commit("")
		require.NoError(tb, err)
		change, err := docs[i].Change(hash)
		require.NoError(tb, err)
		parsed, err := crdt.ParseChange(change.Save()) // as stored: not deflated
		require.NoError(tb, err)
		sets = append(sets, transport.Set{Members: []transport.Member{
			{Collection: "customers", ID: fmt.Sprintf("c%05d", i), Data: parsed.Raw()},
		}})
	}
	for i := range docs {
		docs[i] = automerge.New()
		require.NoError(tb, docs[i].SetActorID(actor.String()))
		for field, v := range map[string]any{
			"name": fmt.Sprintf("Customer number %d", i), "city": []string{"Oslo", "Reykjavik", "Bergen"}[i%3],
			"email": fmt.Sprintf("customer%d@example.org", i), "visits": int64(i % 40), "active": i%2 == 0,
		} {
			require.NoError(tb, docs[i].RootMap().Set(field, v))
		}
		commit(i)
	}
	for round := range 3 {
		for i := range docs {
			require.NoError(tb, docs[i].RootMap().Set("visits", int64(1000*(round+1)+i)))
			commit(i)
		}
	}
	return sets
}

// BenchmarkChanges measures frames of a cold sync, at several sizes: the time to
// encode and to decode, and what a record takes on the wire.
func BenchmarkChanges(b *testing.B) {
	const records = 2000
	sets := catchUp(b, records)
	codec := transport.NewCodec()
	for _, most := range []int{64 << 10, 256 << 10, 1 << 20, transport.MaxPayload} {
		frames, raw := split(sets, most)
		var messages [][]byte
		wire := 0
		for _, f := range frames {
			m, err := codec.Encode(f)
			require.NoError(b, err)
			messages, wire = append(messages, m), wire+len(m)
		}
		b.Run(fmt.Sprintf("Encode/%dKiB", most>>10), func(b *testing.B) {
			b.SetBytes(int64(raw))
			for b.Loop() {
				for _, f := range frames {
					_, _ = codec.Encode(f)
				}
			}
			b.ReportMetric(float64(raw)/records, "raw-B/record")
			b.ReportMetric(float64(wire)/records, "wire-B/record")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(sets)), "ns/change")
		})
		b.Run(fmt.Sprintf("Decode/%dKiB", most>>10), func(b *testing.B) {
			b.SetBytes(int64(raw))
			b.ReportAllocs()
			for b.Loop() {
				for _, m := range messages {
					_, _ = codec.Decode(m)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(sets)), "ns/change")
		})
	}
}

// split cuts sets into frames of at most so many bytes.
func split(sets []transport.Set, most int) (frames []*transport.Changes, raw int) {
	size := most + 1
	for i, s := range sets {
		raw += len(s.Members[0].Data)
		if size += s.Size(); size > most {
			size = s.Size()
			frames = append(frames, &transport.Changes{From: cursor(1, crdt.LSN(i)), Through: cursor(1, crdt.LSN(i+1))})
		}
		last := frames[len(frames)-1]
		last.Sets = append(last.Sets, s)
	}
	return frames, raw
}

// BenchmarkLive measures what a live update costs: a frame of one small change,
// and the ack that answers it.
func BenchmarkLive(b *testing.B) {
	codec := transport.NewCodec()
	sets := catchUp(b, 1)
	for _, f := range []transport.Frame{
		&transport.Changes{From: cursor(1, 100), Through: cursor(1, 101), Sets: sets[3:], End: true},
		&transport.Ack{Through: cursor(1, 101)},
	} {
		message, err := codec.Encode(f)
		require.NoError(b, err)
		b.Run("Encode/"+f.Kind().String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = codec.Encode(f)
			}
			b.ReportMetric(float64(len(message)), "wire-B")
		})
		b.Run("Decode/"+f.Kind().String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = codec.Decode(message)
			}
		})
	}
}

// BenchmarkNewCodec measures what a link costs before it dials.
func BenchmarkNewCodec(b *testing.B) {
	b.ReportAllocs()
	f := &transport.Error{Message: strings.Repeat("long enough to be compressed ", 20)}
	for b.Loop() {
		_, _ = transport.NewCodec().Encode(f)
	}
}
