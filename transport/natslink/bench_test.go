package natslink_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport/natslink"
)

// raw is a bare SQLite file, committed as a replica commits.
type raw struct{ db *sql.DB }

func openRaw(b *testing.B) *raw {
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(b.TempDir(), "raw.db")+"?_journal_mode=WAL&_synchronous=FULL&_txlock=immediate")
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, db.Close()) })
	db.SetMaxOpenConns(1)
	_, err = db.Exec("CREATE TABLE log (lsn INTEGER PRIMARY KEY, data BLOB)")
	require.NoError(b, err)
	return &raw{db}
}

// commit writes the payloads in one transaction.
func (r *raw) commit(b *testing.B, payloads ...[]byte) {
	tx, err := r.db.Begin()
	require.NoError(b, err)
	insert, err := tx.Prepare("INSERT INTO log (data) VALUES (?)")
	require.NoError(b, err)
	for _, p := range payloads {
		_, err := insert.Exec(p)
		require.NoError(b, err)
	}
	require.NoError(b, tx.Commit())
}

// fully opens a replica that commits at FULL.
func fully(b *testing.B) *place {
	p := newPlace(b)
	require.NoError(b, p.r.Close())
	var err error
	p.r, err = replica.Open(context.Background(), p.path, &replica.Options{Space: space, Synchronous: persist.Full})
	require.NoError(b, err)
	return p
}

// BenchmarkReplicate: 10,000 updates of single fields, each a set of its own, from one
// replica through the stream into another that commits at FULL; against publishing
// and consuming a message for each, of the size that a set has alone, and against SQLite
// transactions of 500 of them.
func BenchmarkReplicate(b *testing.B) {
	const updates = 10_000
	a := newPlace(b)
	for i := range updates {
		a.put(b, strconv.Itoa(i%1000), i)
	}
	payload := noise(1, 110)
	var ours, js, sqlite time.Duration
	rounds := 0
	for b.Loop() {
		rounds++
		s := startServer(b, withJetStream(b))
		link, err := newNode(b, s.ClientURL(), nil).Stream(space)
		require.NoError(b, err)
		to := fully(b)
		start := time.Now()
		done := make(chan error, 1)
		go func() {
			_, err := a.r.Sync(within(b), link)
			done <- err
		}()
		conn, err := to.r.Connect(link)
		require.NoError(b, err)
		require.NoError(b, <-done)
		for last := ""; last != fmt.Sprintf(`{"n":%d}`, updates-1); {
			time.Sleep(time.Millisecond)
			v, err := to.r.Get(context.Background(), key(strconv.Itoa((updates-1)%1000)))
			if !errors.Is(err, replica.ErrNotFound) {
				require.NoError(b, err)
			}
			last = string(v)
		}
		ours += time.Since(start)
		require.NoError(b, conn.Close())
		js += rawStream(b, payload, updates)
		r := openRaw(b)
		start = time.Now()
		for i := 0; i < updates; i += 500 {
			r.commit(b, slices.Repeat([][]byte{payload}, 500)...)
		}
		sqlite += time.Since(start)
		stopServer(s)
	}
	rate := func(d time.Duration) float64 { return float64(updates*rounds) / d.Seconds() }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(rate(ours), "changes/s")
	b.ReportMetric(rate(js), "raw-jetstream/s")
	b.ReportMetric(rate(sqlite), "raw-sqlite/s")
	b.ReportMetric(rate(ours)/min(rate(js), rate(sqlite)), "of-limit")
}

// rawStream publishes and consumes n messages.
func rawStream(b *testing.B, payload []byte, n int) time.Duration {
	s := startServer(b, withJetStream(b))
	_, out := admin(b, s.ClientURL())
	_, in := admin(b, s.ClientURL())
	ctx := within(b)
	_, err := out.CreateStream(ctx, jetstream.StreamConfig{Name: "raw", Subjects: []string{"raw"}})
	require.NoError(b, err)
	start := time.Now()
	consumer, err := in.OrderedConsumer(ctx, "raw", jetstream.OrderedConsumerConfig{})
	require.NoError(b, err)
	got, done := 0, make(chan struct{})
	running, err := consumer.Consume(func(jetstream.Msg) {
		if got++; got == n {
			close(done)
		}
	})
	require.NoError(b, err)
	defer running.Stop()
	for i := range n {
		m := nats.NewMsg("raw")
		m.Data = payload
		m.Header.Set(jetstream.MsgIDHeader, strconv.Itoa(i))
		_, err := out.PublishMsgAsync(m)
		for errors.Is(err, jetstream.ErrTooManyStalledMsgs) {
			_, err = out.PublishMsgAsync(m)
		}
		require.NoError(b, err)
	}
	<-out.PublishAsyncComplete()
	<-done
	took := time.Since(start)
	stopServer(s)
	return took
}

// BenchmarkLive: from an update on one replica to the watcher's event on another,
// through the stream, FULL on both; against a message one way and two raw commits.
func BenchmarkLive(b *testing.B) {
	s := startServer(b, withJetStream(b))
	from, to := fully(b), fully(b)
	for _, p := range []*place{from, to} {
		link, err := newNode(b, s.ClientURL(), &natslink.Options{ID: p.r.ID().String()}).Stream(space)
		require.NoError(b, err)
		_, err = p.r.Connect(link)
		require.NoError(b, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	arrived := make(chan crdt.Key, 1)
	events := to.r.Watch(ctx, "notes")
	go func() {
		for ev, err := range events {
			if err != nil {
				return
			}
			arrived <- ev.Key
		}
	}()
	live := func(i int) time.Duration {
		start := time.Now()
		from.put(b, strconv.Itoa(i%10), i)
		require.Equal(b, strconv.Itoa(i%10), (<-arrived).ID)
		return time.Since(start)
	}
	for i := range 10 {
		live(i)
	}
	r, hop := openRaw(b), oneWay(b, s.ClientURL())
	payload := noise(1, 200)
	var took, limit []time.Duration
	for i := 10; b.Loop(); i++ { // other values than before: the same ones write nothing
		took = append(took, live(i))
		start := time.Now()
		r.commit(b, payload)
		hop(payload)
		r.commit(b, payload)
		limit = append(limit, time.Since(start))
	}
	p := func(d []time.Duration, q float64) float64 {
		slices.Sort(d)
		return float64(d[int(float64(len(d)-1)*q)].Nanoseconds()) / 1e3
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(p(took, 0.5), "p50-us")
	b.ReportMetric(p(took, 0.99), "p99-us")
	b.ReportMetric(p(limit, 0.5), "limit-p50-us")
	b.ReportMetric(p(took, 0.5)/p(limit, 0.5), "times-limit")
}

// oneWay returns a function that sends a message and waits until it has arrived at
// another client.
func oneWay(b *testing.B, url string) func([]byte) {
	out, _ := admin(b, url)
	in, _ := admin(b, url)
	arrived := make(chan struct{}, 1)
	_, err := in.Subscribe("raw", func(*nats.Msg) { arrived <- struct{}{} })
	require.NoError(b, err)
	require.NoError(b, in.Flush())
	return func(payload []byte) {
		require.NoError(b, out.Publish("raw", payload))
		<-arrived
	}
}
