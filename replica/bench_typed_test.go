package replica_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
)

// place is a record of 5 fields, as newRecord makes them.
type place struct {
	City  string `json:"city"`
	Count int64  `json:"count"`
	Name  string `json:"name"`
	Open  bool   `json:"open"`
	Place string `json:"place"`
}

func newPlace(i int) place {
	m := newRecord(i)
	return place{m["city"].(string), m["count"].(int64), m["name"].(string), m["open"].(bool), m["place"].(string)}
}

// BenchmarkGetTyped: a typed Get of one of 1,000 records against reading the same row
// of the same file with mattn/go-sqlite3 and json.Unmarshal. The limit is 1.5.
func BenchmarkGetTyped(b *testing.B) {
	r := benchReplica(b, persist.Normal)
	db, err := sql.Open("sqlite3", "file:"+r.Path()+"?mode=ro&_busy_timeout=5000")
	require.NoError(b, err)
	b.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	read, err := db.Prepare("SELECT json FROM records WHERE collection = ? AND id = ?")
	require.NoError(b, err)
	c := replica.NewCollection[place](r, "notes")
	renamed := replica.NewCollection[struct {
		Place string `json:"spot"`
	}](r, "notes", replica.WithLens(2, replica.Rename("place", "spot")))
	ctx := context.Background()
	raw := func(i int) error {
		var text []byte
		var v place
		if err := read.QueryRow("notes", strconv.Itoa(i)).Scan(&text); err != nil {
			return err
		}
		return json.Unmarshal(text, &v)
	}
	b.Run("plain", func(b *testing.B) {
		alternate(b, 1000, "raw", raw, "times-raw", func(i int) error {
			_, err := c.Get(ctx, strconv.Itoa(i))
			return err
		})
	})
	b.Run("lens", func(b *testing.B) {
		alternate(b, 1000, "raw", raw, "times-raw", func(i int) error {
			_, err := renamed.Get(ctx, strconv.Itoa(i))
			return err
		})
	})
}

// BenchmarkEdit: typed edits at FULL, against raw SQLite with a transaction for each
// write. The limit for eight writers is 1.5 times as fast.
func BenchmarkEdit(b *testing.B) {
	raw, r := openRaw(b, "FULL"), benchReplica(b, persist.Full)
	c := replica.NewCollection[place](r, "notes")
	var n atomic.Int64
	edit := func(id int) error {
		return c.Edit(context.Background(), strconv.Itoa(id), func(p *place) error {
			p.Count = n.Add(1)
			return nil
		})
	}
	b.Run("one", func(b *testing.B) {
		alternate(b, 200, "raw", func(int) error { return raw.commit() }, "of-raw", edit)
	})
	b.Run("8-writers", func(b *testing.B) {
		alternate(b, 1, "raw", func(int) error { return eight(25, func(int) error { return raw.commit() }) },
			"of-raw", func(int) error { return eight(25, edit) })
	})
}

// BenchmarkPutAll: 100,000 records of 5 fields in one call, in a process of its own.
// The limits are 10,000 a second and 150 MB at the peak.
func BenchmarkPutAll(b *testing.B) {
	if !*large {
		b.Skip("run with -large")
	}
	for b.Loop() {
		perSecond, peak := ownProcess(b, importEnv, filepath.Join(b.TempDir(), "import.db"))
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(perSecond, "records/s")
		b.ReportMetric(peak, "peak-MB")
	}
}

// importEnv makes the test binary import into the file it names, and print the records
// a second and its peak memory in MB.
const importEnv = "GODWIT_IMPORT"

func importMany(path string) error {
	ctx := context.Background()
	r, err := replica.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	const records = 100_000
	start := time.Now()
	n, err := replica.NewCollection[place](r, "places").PutAll(ctx, func(yield func(string, place) bool) {
		for i := range records {
			if !yield("", newPlace(i)) {
				return
			}
		}
	})
	if err != nil || n != records {
		return fmt.Errorf("%d records: %w", n, err)
	}
	took := time.Since(start)
	peak, err := peakMemory()
	fmt.Println(records/took.Seconds(), peak)
	return err
}

// peakMemory returns the most that the process has held, in MB; 0 where /proc is
// missing.
func peakMemory() (float64, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, nil
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	return kb / 1e3, err
}
