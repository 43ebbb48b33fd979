package crdt_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

func TestParseJSON(t *testing.T) {
	at := time.UnixMilli(1767323045678).UTC()
	type m = map[string]any
	for in, want := range map[string]any{
		`null`: nil, `true`: true, ` false `: false, `""`: "", `"é\u00e9\n\ud834\udd1e\/"`: "éé\n𝄞/",
		`0`: int64(0), `-0`: int64(0), `-12`: int64(-12),
		`9223372036854775807`:  int64(math.MaxInt64),
		`9223372036854775808`:  uint64(1 << 63),
		`18446744073709551615`: uint64(math.MaxUint64),
		`-9223372036854775808`: int64(math.MinInt64),
		`1.0`:                  1.0, `1e2`: 100.0, `1E+2`: 100.0, `-1.5e-3`: -0.0015, `5e-324`: 5e-324,
		`[]`: []any{}, `[1,[2]]`: []any{int64(1), []any{int64(2)}},
		`{}`: m{}, `{"":1,"b":{"a":null}}`: m{"": int64(1), "b": m{"a": nil}},
		`{"$counter":5}`:                               crdt.Counter(5),
		`{"$time":"2026-01-02T03:04:05.678Z"}`:         at,
		`{"$time":"2026-01-02T04:04:05.678999+01:00"}`: at,
		`{"$time":1767323045678}`:                      at,
		`{"$bytes":"AP8="}`:                            []byte{0, 255},
		`{"$float":"Infinity"}`:                        math.Inf(1),
		`{"$float":"-Infinity"}`:                       math.Inf(-1),
		`{"$text":"abc"}`:                              crdt.Text("abc"),
		`[{"$counter":5}]`:                             []any{crdt.Counter(5)},
		`{"$counter":5,"b":1}`:                         m{"$counter": int64(5), "b": int64(1)},
		`{"$other":5}`:                                 m{"$other": int64(5)},
		`{"$map":{}}`:                                  m{},
		`{"$map":{"$counter":5}}`:                      m{"$counter": int64(5)},
		`{"$map":{"a":{"$text":"x"}}}`:                 m{"a": crdt.Text("x")},
		`{"$map":{"$map":{"$map":{"$bytes":1}}}}`:      m{"$map": m{"$bytes": int64(1)}},
		`{"$map":{"$map":{"a":1}},"b":2}`:              m{"$map": m{"a": int64(1)}, "b": int64(2)},
	} {
		got, err := crdt.ParseJSON([]byte(in))
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
	nan, err := crdt.ParseJSON([]byte(`{"$float":"NaN"}`))
	require.NoError(t, err)
	require.True(t, math.IsNaN(nan.(float64)))
}

func TestParseJSONRefuses(t *testing.T) {
	for in, offset := range map[string]int{
		``: 0, ` `: 1, `nul`: 0, `tru`: 0, `+1`: 0, `01`: 0, `-`: 0, `1.`: 0, `.5`: 0, `1e`: 0, `1e999`: 0, `NaN`: 0,
		`18446744073709551616`: 0, `-9223372036854775809`: 0, `[-01]`: 1,
		`1 2`: 2, `[1,]`: 3, `[1 2]`: 3, `[`: 1, `{"a":1,}`: 7, `{"a" 1}`: 5, `{a:1}`: 1, `{"a":1`: 6,
		`{"a":1,"a":2}`: 7, `{"a":1,"\u0061":2}`: 7,
		"\"\xff\"": 1, "\"\\n\xff\"": 3, `"a`: 0, "\"\n\"": 1, `"\x"`: 1, `"\u12"`: 1, `"\u12g4"`: 1, `"\`: 1,
		`"\ud834"`: 1, `"\ud834x"`: 1, `"\ud834\u0041"`: 1, `"\udd1e"`: 1,
		`{"$counter":1.5}`: 0, `{"$counter":"1"}`: 0, `[{"$time":"yesterday"}]`: 1, `{"$bytes":"A"}`: 0,
		`{"$bytes":"AP8=\n"}`: 0, `{"$float":"nan"}`: 0, `{"$text":1}`: 0, `{"$map":1}`: 0, `{"$map":[]}`: 0,
		`{"$map":{"$map":{"$text":1}}}`: 16,
		strings.Repeat("[", 1_000_000):  crdt.MaxDepth,
		"\xef\xbb\xbf1":                 0,
	} {
		_, err := crdt.ParseJSON([]byte(in))
		var e *crdt.JSONError
		require.ErrorAs(t, err, &e, "%.50s", in)
		require.Equal(t, offset, e.Offset, "%.50s: %v", in, err)
	}
}

func TestJSONDepth(t *testing.T) {
	nest := func(n int, inner string) []byte {
		return []byte(strings.Repeat("[", n) + inner + strings.Repeat("]", n))
	}
	for _, inner := range []string{`1`, `[]`, `{}`, `{"$bytes":"AA=="}`, `{"$time":0}`, `{"$map":{}}`, `{"$map":{"$text":{}}}`} {
		for n := crdt.MaxDepth - 4; n < crdt.MaxDepth+3; n++ {
			v, err := crdt.ParseJSON(nest(n, inner))
			if err != nil {
				require.Greater(t, n, crdt.MaxDepth-4, inner)
				continue
			}
			out, err := crdt.AppendJSON(nil, v)
			require.NoError(t, err, "%d %s", n, inner)
			_, err = crdt.ParseJSON(out)
			require.NoError(t, err, "%d %s", n, inner)
		}
	}
}

func TestAppendJSON(t *testing.T) {
	type m = map[string]any
	for want, v := range map[string]any{
		`null`: nil, `1.0`: 1.0, `-0.0`: math.Copysign(0, -1), `1e+21`: 1e21, `1e-07`: 1e-7, `0.000001`: 1e-6,
		`100000000000000000000.0`: 1e20, `5e-324`: 5e-324, `0.1`: 0.1,
		`{"$float":"NaN"}`: math.NaN(), `{"$float":"Infinity"}`: math.Inf(1), `{"$float":"-Infinity"}`: math.Inf(-1),
		`18446744073709551615`: uint64(math.MaxUint64), `-5`: crdt.Counter(-5), `7`: 7,
		`"x"`: crdt.Text("x"), `"\"\\\n\r\t\u0000\u001f/<é𝄞"`: "\"\\\n\r\t\x00\x1f/<é𝄞",
		`{"$bytes":"AP8="}`:                     []byte{0, 255},
		`{"$time":"2026-01-02T03:04:05.678Z"}`:  time.UnixMilli(1767323045678),
		`{"$time":"2026-01-02T03:04:05Z"}`:      time.UnixMilli(1767323045000),
		`{"$time":"0000-01-01T00:00:00Z"}`:      crdt.Timestamp(-62167219200000),
		`{"$time":-62167219200001}`:             crdt.Timestamp(-62167219200001),
		`{"$time":253402300800000}`:             crdt.Timestamp(253402300800000),
		`{"a":[1,true],"b":{}}`:                 m{"b": m{}, "a": []any{int64(1), true}},
		`{"$map":{"$counter":1}}`:               m{"$counter": int64(1)},
		`{"$map":{"$map":{"$map":{"$map":1}}}}`: m{"$map": m{"$map": 1}},
		`{"$other":1}`:                          m{"$other": 1},
	} {
		got, err := crdt.AppendJSON(nil, v)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
		require.True(t, json.Valid(got))
	}
	for _, v := range []any{"\xff", m{"\xff": 1}, crdt.Text("\xff"), struct{}{}, []any{make(chan int)}} {
		_, err := crdt.AppendJSON(nil, v)
		require.Error(t, err, "%v", v)
	}
}

// What was written reads back equal, whatever it is.
func TestJSONRoundTrip(t *testing.T) {
	rng := seeded(t, 1)
	for range 5000 {
		v := randomJSON(rng, 0)
		out, err := crdt.AppendJSON(nil, v)
		require.NoError(t, err)
		back, err := crdt.ParseJSON(out)
		require.NoError(t, err, string(out))
		require.Equal(t, v, back, string(out))
	}
}

func randomJSON(rng *rand.Rand, depth int) any {
	n := 9
	if depth < 4 {
		n = 12
	}
	switch rng.IntN(n) {
	case 0:
		return nil
	case 1:
		return rng.IntN(2) == 0
	case 2:
		return int64(rng.Uint64()) >> rng.IntN(64)
	case 3:
		return rng.Uint64() | 1<<63
	case 4:
		if f := math.Float64frombits(rng.Uint64()); !math.IsNaN(f) {
			return f
		}
		return 0.0
	case 5:
		return float64(rng.IntN(2000) - 1000)
	case 6:
		return []byte(fmt.Sprint(rng.IntN(1000)))
	case 7:
		return time.UnixMilli(int64(rng.Uint64()) >> (8 + rng.IntN(56))).UTC()
	case 9:
		list := []any{}
		for range rng.IntN(4) {
			list = append(list, randomJSON(rng, depth+1))
		}
		return list
	case 10, 11:
		object := map[string]any{}
		for range rng.IntN(4) {
			key := []string{"a", "", "b\n", "$map", "$counter", "$text", "$bytes", "ключ"}[rng.IntN(8)]
			object[key] = randomJSON(rng, depth+1)
		}
		return object
	}
	return []string{"", "x", "\x00\n\"\\é𝄞\ufffd\u2028", "$map"}[rng.IntN(4)]
}
