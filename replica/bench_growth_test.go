package replica_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
)

// growthSmall is where growth begins.
const growthSmall = 1000

// BenchmarkGrowth: how much slower an update and a get of any record are with 100,000
// records (1,000,000 with -large) than with 1,000, and how much slower raw SQLite gets,
// which finds its rows by collection and id too. The limit for the one is 1.3 times the
// other. The four take turns, so that a machine that changes its mind slows them all.
func BenchmarkGrowth(b *testing.B) {
	records := 100_000
	if *large {
		records = 1_000_000
	}
	ours, raws := map[int]*replica.Replica{}, map[int]*keyedDB{}
	for _, n := range []int{growthSmall, records} {
		ours[n] = open(b, &replica.Options{Synchronous: persist.Normal})
		fill(b, ours[n], n)
		raws[n] = openKeyed(b, n)
	}
	ctx := context.Background()
	b.Run("update", func(b *testing.B) {
		growth(b, records, func(n, i int) error { return raws[n].update(i) },
			func(n, i int) error { return setCount(ours[n], strconv.Itoa(i)) })
	})
	b.Run("get", func(b *testing.B) {
		growth(b, records, func(n, i int) error { return raws[n].get(i) },
			func(n, i int) error {
				_, err := ours[n].Get(ctx, key(strconv.Itoa(i)))
				return err
			})
	})
}

// growth times both with few and with many records, each time of one of all.
func growth(b *testing.B, records int, raw, ours func(n, i int) error) {
	const batch = 500
	seed := uint64(time.Now().UnixNano())
	b.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	var times [2][2]time.Duration // raw, ours; few, many
	rounds := 0
	for b.Loop() {
		for size, n := range []int{growthSmall, records} {
			for which, fn := range []func(n, i int) error{raw, ours} {
				start := time.Now()
				for range batch {
					require.NoError(b, fn(n, rnd.IntN(n)))
				}
				times[which][size] += time.Since(start)
			}
		}
		rounds++
	}
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(rounds*batch) / 1e3 }
	slower := func(which int) float64 { return float64(times[which][1]) / float64(times[which][0]) }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(us(times[0][1]), "raw-us")
	b.ReportMetric(us(times[1][1]), "ours-us")
	b.ReportMetric(slower(0), "raw-slower")
	b.ReportMetric(slower(1), "ours-slower")
	b.ReportMetric(slower(1)/slower(0), "times-raw")
}

// keyedDB is a table of records by collection and id, and a log.
type keyedDB struct {
	db                  *sql.DB
	read, write, append *sql.Stmt
	n                   int
}

func openKeyed(b *testing.B, records int) *keyedDB {
	path := filepath.Join(b.TempDir(), "keyed.db")
	db, err := sql.Open("sqlite3", "file:"+path+"?_txlock=immediate&_journal_mode=WAL&_busy_timeout=5000&_cache_size=-8192&_synchronous=NORMAL")
	require.NoError(b, err)
	b.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	_, err = db.Exec(`CREATE TABLE r (id INTEGER PRIMARY KEY, c TEXT NOT NULL, k TEXT NOT NULL, v TEXT NOT NULL);
		CREATE UNIQUE INDEX r_key ON r (c, k); CREATE TABLE l (id INTEGER PRIMARY KEY, d BLOB NOT NULL)`)
	require.NoError(b, err)
	tx, err := db.Begin()
	require.NoError(b, err)
	insert, err := tx.Prepare("INSERT INTO r (c, k, v) VALUES ('notes', ?, ?)")
	require.NoError(b, err)
	change, err := tx.Prepare("INSERT INTO l (d) VALUES (?)")
	require.NoError(b, err)
	for i := range records {
		_, err := insert.Exec(strconv.Itoa(i), recordJSON(i))
		require.NoError(b, err)
		_, err = change.Exec(make([]byte, 250))
		require.NoError(b, err)
	}
	require.NoError(b, tx.Commit())
	k := &keyedDB{db: db}
	for to, text := range map[**sql.Stmt]string{
		&k.read: "SELECT v FROM r WHERE c = 'notes' AND k = ?", &k.write: "UPDATE r SET v = ? WHERE c = 'notes' AND k = ?",
		&k.append: "INSERT INTO l (d) VALUES (?)",
	} {
		*to, err = db.Prepare(text)
		require.NoError(b, err)
	}
	return k
}

func (k *keyedDB) update(i int) error {
	tx, err := k.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	k.n++
	res, err := tx.Stmt(k.write).Exec(recordJSON(k.n), strconv.Itoa(i))
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); n != 1 || err != nil {
		return fmt.Errorf("%d rows: %w", n, err)
	}
	if _, err := tx.Stmt(k.append).Exec(make([]byte, 120)); err != nil {
		return err
	}
	return tx.Commit()
}

func (k *keyedDB) get(i int) error {
	var text []byte
	return k.read.QueryRow(strconv.Itoa(i)).Scan(&text)
}
