package persist_test

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

const benchJSON = `{"city":"Reykjavik","count":10000000,"name":"A record of ordinary size","open":true}`

var benchCount atomic.Int64

// newJSON is another value each time: SQLite does not write a page on which
// nothing changed.
func newJSON() []byte {
	b := []byte(benchJSON)
	return append(strconv.AppendInt(b[:28], 10_000_000+benchCount.Add(1), 10), b[36:]...)
}

// rawDB is what one transaction costs at best through database/sql.
type rawDB struct {
	db             *sql.DB
	update, insert *sql.Stmt
}

func openRaw(b *testing.B, mode string) *rawDB {
	db, err := sql.Open("sqlite3", "file:"+tempPath(b)+"?_txlock=immediate&_journal_mode=WAL&_busy_timeout=5000&_cache_size=-8192&_synchronous="+mode)
	require.NoError(b, err)
	b.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	_, err = db.Exec("PRAGMA temp_store = MEMORY; CREATE TABLE r (id INTEGER PRIMARY KEY, v TEXT NOT NULL); CREATE TABLE l (id INTEGER PRIMARY KEY, d BLOB NOT NULL)")
	require.NoError(b, err)
	for i := range 1000 {
		_, err = db.Exec("INSERT INTO r VALUES (?, ?)", i, benchJSON)
		require.NoError(b, err)
	}
	r := &rawDB{db: db}
	r.update, err = db.Prepare("UPDATE r SET v = ? WHERE id = ?")
	require.NoError(b, err)
	r.insert, err = db.Prepare("INSERT INTO l (d) VALUES (?)")
	require.NoError(b, err)
	return r
}

func (r *rawDB) commit(i int, data []byte) error {
	tx, err := r.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.Stmt(r.update).Exec(string(newJSON()), i%1000); err != nil {
		return err
	}
	if _, err := tx.Stmt(r.insert).Exec(data); err != nil {
		return err
	}
	return tx.Commit()
}

// benchStore has 1,000 records, which it returns.
func benchStore(b *testing.B, mode persist.Synchronous) (*persist.Store, []*persist.Record) {
	s := open(b, tempPath(b), &persist.Options{Synchronous: mode})
	recs := make([]*persist.Record, 1000)
	require.NoError(b, s.Commit(b.Context(), func(tx *persist.Tx) error {
		for i := range recs {
			recs[i] = &persist.Record{Key: key(fmt.Sprintf("record-%04d", i)), JSON: []byte(benchJSON),
				Heads: crdt.Heads{{1}}, Clock: crdt.Clock{"0123456789abcdef": 1}}
			if err := tx.PutRecord(recs[i]); err != nil {
				return err
			}
		}
		return nil
	}))
	return s, recs
}

func storeCommit(s *persist.Store, rec *persist.Record, data []byte) error {
	return s.Commit(context.Background(), func(tx *persist.Tx) error {
		row := persist.LogRow{RID: rec.RID, Key: rec.Key, Data: data, Time: 1}
		row.Hash[0] = 1
		if err := tx.Append(&row); err != nil {
			return err
		}
		rec.LSN, rec.JSON = row.LSN, newJSON()
		return tx.PutRecord(rec)
	})
}

// alternate runs both in turns, in batches, so that a machine that changes its
// mind slows both, and reports the time of each and how much of raw ours is.
func alternate(b *testing.B, batch int, raw, ours func(n int) error) {
	var rawTime, ourTime time.Duration
	rounds := 0
	for b.Loop() {
		start := time.Now()
		require.NoError(b, raw(batch))
		middle := time.Now()
		require.NoError(b, ours(batch))
		rawTime += middle.Sub(start)
		ourTime += time.Since(middle)
		rounds++
	}
	n := float64(rounds * batch)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(rawTime.Nanoseconds())/n/1e3, "raw-us")
	b.ReportMetric(float64(ourTime.Nanoseconds())/n/1e3, "ours-us")
	b.ReportMetric(float64(rawTime)/float64(ourTime), "of-raw")
}

func BenchmarkCommit(b *testing.B) {
	data := make([]byte, 150)
	for mode, name := range map[persist.Synchronous]string{persist.Normal: "NORMAL", persist.Full: "FULL"} {
		b.Run(name, func(b *testing.B) {
			raw := openRaw(b, name)
			s, recs := benchStore(b, mode)
			alternate(b, 200, func(n int) error {
				for i := range n {
					if err := raw.commit(i, data); err != nil {
						return err
					}
				}
				return nil
			}, func(n int) error {
				for i := range n {
					if err := storeCommit(s, recs[i], data); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}

func BenchmarkCommitEightWriters(b *testing.B) {
	data := make([]byte, 150)
	raw := openRaw(b, "FULL")
	s, recs := benchStore(b, persist.Full)
	alternate(b, 400, func(n int) error {
		for i := range n {
			if err := raw.commit(i, data); err != nil {
				return err
			}
		}
		return nil
	}, func(n int) error {
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := range n / 8 {
					if err := storeCommit(s, recs[w*100+i], data); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		return nil
	})
}

// BenchmarkBulk is a cold sync: 1,000 new records of four changes each.
func BenchmarkBulk(b *testing.B) {
	data := make([]byte, 150)
	s := open(b, tempPath(b), nil)
	batch := 0
	for b.Loop() {
		batch++
		require.NoError(b, s.Commit(b.Context(), func(tx *persist.Tx) error {
			for i := range 1000 {
				rec := &persist.Record{RID: tx.NewRID(), Key: key(fmt.Sprintf("record-%d-%04d", batch, i)),
					JSON: []byte(benchJSON), Heads: crdt.Heads{{1}}, Clock: crdt.Clock{"0123456789abcdef": 4}}
				for range 4 {
					row := persist.LogRow{RID: rec.RID, Key: rec.Key, Data: data, Source: 1, Time: 1}
					row.Hash[0] = 1
					if err := tx.Append(&row); err != nil {
						return err
					}
					rec.LSN = row.LSN
				}
				if err := tx.PutRecord(rec); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4000, "ns/row")
}

// BenchmarkOpen opens a replica of 100,000 idle records.
func BenchmarkOpen(b *testing.B) {
	path := tempPath(b)
	s := open(b, path, nil)
	require.NoError(b, s.Commit(b.Context(), func(tx *persist.Tx) error {
		for i := range 100_000 {
			rec := &persist.Record{Key: key(fmt.Sprint(i)), JSON: []byte(benchJSON)}
			if err := tx.PutRecord(rec); err != nil {
				return err
			}
		}
		return nil
	}))
	require.NoError(b, s.Close())
	for b.Loop() {
		s, err := persist.Open(b.Context(), path, nil)
		require.NoError(b, err)
		require.NoError(b, s.Commit(b.Context(), nop))
		require.NotNil(b, record(b, s, "5"))
		require.NoError(b, s.Close())
	}
}

func BenchmarkRecord(b *testing.B) {
	s, recs := benchStore(b, persist.Normal)
	for b.Loop() {
		require.NoError(b, s.Read(b.Context(), func(r *persist.Reader) error {
			_, err := r.Record(recs[500].Key)
			return err
		}))
	}
}
