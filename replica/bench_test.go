package replica_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
)

// rawDB is the limit: one transaction that updates one row of 1,000 and inserts
// one log row, through database/sql with the replica's pragmas.
type rawDB struct {
	db             *sql.DB
	update, insert *sql.Stmt
	n              int
}

func openRaw(b *testing.B, mode string) *rawDB {
	path := filepath.Join(b.TempDir(), "raw.db")
	db, err := sql.Open("sqlite3", "file:"+path+"?_txlock=immediate&_journal_mode=WAL&_busy_timeout=5000&_cache_size=-8192&_synchronous="+mode)
	require.NoError(b, err)
	b.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	_, err = db.Exec("PRAGMA temp_store = MEMORY; CREATE TABLE r (id INTEGER PRIMARY KEY, v TEXT NOT NULL); CREATE TABLE l (id INTEGER PRIMARY KEY, d BLOB NOT NULL)")
	require.NoError(b, err)
	for i := range 1000 {
		_, err = db.Exec("INSERT INTO r VALUES (?, ?)", i, recordJSON(i))
		require.NoError(b, err)
	}
	r := &rawDB{db: db}
	r.update, err = db.Prepare("UPDATE r SET v = ? WHERE id = ?")
	require.NoError(b, err)
	r.insert, err = db.Prepare("INSERT INTO l (d) VALUES (?)")
	require.NoError(b, err)
	return r
}

func (r *rawDB) commit() error {
	tx, err := r.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	r.n++
	if _, err := tx.Stmt(r.update).Exec(recordJSON(r.n), r.n%1000); err != nil {
		return err
	}
	if _, err := tx.Stmt(r.insert).Exec(make([]byte, 120)); err != nil {
		return err
	}
	return tx.Commit()
}

func recordJSON(n int) string {
	return `{"city":"Reykjavik","count":` + strconv.Itoa(10_000_000+n) + `,"name":"A record of ordinary size","open":true}`
}

func newRecord(i int) map[string]any {
	rnd := rand.New(rand.NewPCG(1, uint64(i)))
	return map[string]any{
		"city": word(rnd, 8), "count": int64(10_000_000 + i), "name": word(rnd, 6) + " " + word(rnd, 9),
		"open": rnd.IntN(2) == 0, "place": word(rnd, 30),
	}
}

// word returns n random letters.
func word(rnd *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + rnd.IntN(26))
	}
	return string(b)
}

// benchReplica has 1,000 records.
func benchReplica(b *testing.B, mode persist.Synchronous) *replica.Replica {
	r := open(b, &replica.Options{Synchronous: mode})
	fill(b, r, 1000)
	return r
}

func fill(b *testing.B, r *replica.Replica, n int) { fillIDs(b, r, n, strconv.Itoa) }

func fillIDs(b *testing.B, r *replica.Replica, n int, id func(int) string) {
	for i := 0; i < n; i += 1000 {
		require.NoError(b, r.Update(context.Background(), func(tx *replica.Tx) error {
			for j := i; j < min(n, i+1000); j++ {
				if err := tx.Put(key(id(j)), newRecord(j)); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

var benchCount atomic.Int64

// setCount is a single-field update.
func setCount(r *replica.Replica, id string) error {
	return r.Update(context.Background(), func(tx *replica.Tx) error {
		return tx.Put(key(id), map[string]any{"count": benchCount.Add(1)})
	})
}

// alternate runs two things in turns, so that a machine that changes its mind
// slows both, and reports the time of each and their ratio.
func alternate(b *testing.B, batch int, firstName string, first func(i int) error, ratioName string, second func(i int) error) {
	var times [2]time.Duration
	rounds := 0
	for b.Loop() {
		for which, fn := range []func(int) error{first, second} {
			start := time.Now()
			for i := range batch {
				require.NoError(b, fn(i))
			}
			times[which] += time.Since(start)
		}
		rounds++
	}
	n := float64(rounds * batch)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(times[0].Nanoseconds())/n/1e3, firstName+"-us")
	b.ReportMetric(float64(times[1].Nanoseconds())/n/1e3, "ours-us")
	if strings.HasPrefix(ratioName, "of-") {
		b.ReportMetric(float64(times[0])/float64(times[1]), ratioName)
	} else {
		b.ReportMetric(float64(times[1])/float64(times[0]), ratioName)
	}
}

var modes = []struct {
	name string
	mode persist.Synchronous
}{{"NORMAL", persist.Normal}, {"FULL", persist.Full}}

// BenchmarkUpdate: a durable single-field update of one of 1,000 records.
func BenchmarkUpdate(b *testing.B) {
	for _, m := range modes {
		b.Run(m.name, func(b *testing.B) {
			raw, r := openRaw(b, m.name), benchReplica(b, m.mode)
			alternate(b, 200, "raw", func(int) error { return raw.commit() },
				"of-raw", func(i int) error { return setCount(r, strconv.Itoa(i)) })
		})
	}
	b.Run("FULL-8-writers", func(b *testing.B) {
		raw, r := openRaw(b, "FULL"), benchReplica(b, persist.Full)
		alternate(b, 1, "raw", func(int) error { return eight(25, func(int) error { return raw.commit() }) },
			"of-raw", func(int) error {
				return eight(25, func(w int) error { return setCount(r, strconv.Itoa(w)) })
			})
	})
}

// eight runs fn n times on each of eight goroutines.
func eight(n int, fn func(writer int) error) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	for w := range 8 {
		wg.Go(func() {
			for range n {
				if err := fn(w); err != nil {
					mu.Lock()
					first = err
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}

// BenchmarkUpdateDeep: the update of a record with 10,000 earlier changes
// against one with 10.
func BenchmarkUpdateDeep(b *testing.B) {
	for _, m := range modes {
		b.Run(m.name, func(b *testing.B) {
			r := benchReplica(b, m.mode)
			for i := range 10_000 {
				require.NoError(b, r.Update(context.Background(), func(tx *replica.Tx) error {
					return tx.Put(key("deep"), map[string]any{"count": int64(i)})
				}))
			}
			for range 10 {
				require.NoError(b, setCount(r, "shallow"))
			}
			alternate(b, 200, "shallow", func(int) error { return setCount(r, "shallow") },
				"times-shallow", func(int) error { return setCount(r, "deep") })
		})
	}
}

// BenchmarkUpdateCold: the update of a record of 20 changes that is not in
// memory against one that is.
func BenchmarkUpdateCold(b *testing.B) {
	for _, m := range modes {
		b.Run(m.name, func(b *testing.B) {
			const records = 4000 // many, so that each keeps about its 20 changes
			warm, cold := benchReplica(b, m.mode), open(b, &replica.Options{Synchronous: m.mode, CacheBytes: 1})
			for _, r := range []*replica.Replica{warm, cold} {
				for j := range 20 {
					require.NoError(b, r.Update(context.Background(), func(tx *replica.Tx) error {
						for i := range records {
							if err := tx.Put(key(strconv.Itoa(i)), map[string]any{"count": int64(j)}); err != nil {
								return err
							}
						}
						return nil
					}))
				}
			}
			b.ResetTimer()
			next := [2]int{}
			update := func(which int, r *replica.Replica) error {
				next[which]++
				return setCount(r, strconv.Itoa(next[which]%records))
			}
			alternate(b, 200, "warm", func(int) error { return update(0, warm) },
				"times-warm", func(int) error { return update(1, cold) })
		})
	}
}

// BenchmarkOpenIdle: opening a file of 100,000 records.
func BenchmarkOpenIdle(b *testing.B) {
	path := filepath.Join(b.TempDir(), "idle.db")
	r, err := replica.Open(context.Background(), path, &replica.Options{Synchronous: persist.Normal})
	require.NoError(b, err)
	fill(b, r, 100_000)
	require.NoError(b, r.Close())
	for b.Loop() {
		ms, mb := ownProcess(b, openIdleEnv, path)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(ms, "open-ms")
		b.ReportMetric(mb, "resident-MB")
	}
}

// ownProcess runs what TestMain does for a variable of the environment, in a process of its own,
// so that its memory is that of one open replica. It returns the two numbers that are printed.
func ownProcess(b *testing.B, env, path string) (x, y float64) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env+"="+path)
	out, err := cmd.CombinedOutput()
	require.NoError(b, err, string(out))
	_, err = fmt.Sscan(string(out), &x, &y)
	require.NoError(b, err, string(out))
	return x, y
}

// openIdleEnv makes the test binary open the replica it names, read one record
// and print the milliseconds that took and its resident memory in MB.
const openIdleEnv = "GODWIT_OPEN_IDLE"

func openIdle(path string) error {
	start := time.Now()
	r, err := replica.Open(context.Background(), path, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := r.Get(context.Background(), key("50000")); err != nil {
		return err
	}
	took := time.Since(start)
	pages, err := residentPages()
	fmt.Println(float64(took.Microseconds())/1e3, float64(pages)*float64(os.Getpagesize())/1e6)
	return err
}

// residentPages returns what the process holds of memory; 0 where /proc is
// missing.
func residentPages() (int64, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, nil
	}
	return strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
}
