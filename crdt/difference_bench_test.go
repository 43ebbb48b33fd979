package crdt_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// BenchmarkAddDiff adds changes and asks what they make different, in a record of
// a few fields and in a text of 100,000 characters, beside adding them only. Wanted:
// ns/AddDiff below 10,000 in both.
func BenchmarkAddDiff(b *testing.B) {
	long := make([]byte, 100_000)
	for i := range long {
		long[i] = 'a' + byte(i%26)
	}
	for name, edit := range map[string]func(*crdt.Edit, int) error{
		"field": func(e *crdt.Edit, i int) error { return e.Put(key("n"), int64(i), crdt.Merge) },
		"text":  func(e *crdt.Edit, i int) error { return e.Splice(key("text"), i*7919%50_000, 1, "x") },
	} {
		b.Run(name, func(b *testing.B) {
			const n = 2000
			h := crdt.NewHistory()
			commit := func(f func(*crdt.Edit) error) *crdt.Change {
				e := h.Begin(benchActor, 1.7e12, nil)
				require.NoError(b, f(e))
				c, err := e.Commit("")
				require.NoError(b, err)
				return c
			}
			base := []*crdt.Change{commit(func(e *crdt.Edit) error {
				return e.Put(nil, map[string]any{"text": crdt.Text(long), "a": 1, "b": "two"}, crdt.Merge)
			})}
			var changes []*crdt.Change
			for i := range n {
				changes = append(changes, commit(func(e *crdt.Edit) error { return edit(e, i) }))
			}
			add := func(diff bool) time.Duration {
				h := crdt.NewHistory()
				for _, c := range base {
					_, err := h.Add(c)
					require.NoError(b, err)
				}
				start := time.Now()
				for _, c := range changes {
					var err error
					if diff {
						_, err = h.AddDiff(c, nil)
					} else {
						_, err = h.Add(c)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
				return time.Since(start)
			}
			var with, without time.Duration
			for b.Loop() {
				with += add(true)
				without += add(false)
			}
			b.ReportMetric(float64(with.Nanoseconds())/float64(b.N*n), "ns/AddDiff")
			b.ReportMetric(float64(without.Nanoseconds())/float64(b.N*n), "ns/Add")
			b.ReportMetric(float64(with)/float64(without), "x-add")
		})
	}
}
