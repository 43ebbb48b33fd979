package replica_test

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// events reads what a watch yields, one by one.
type events struct {
	t    testing.TB
	next func() (replica.Event, error, bool)
}

func read(t testing.TB, seq iter.Seq2[replica.Event, error]) *events {
	next, stop := iter.Pull2(seq)
	t.Cleanup(stop)
	return &events{t, next}
}

// watching returns a context that ends a test which waits for an event in vain.
func watching(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func (e *events) one() replica.Event {
	e.t.Helper()
	ev, err, ok := e.next()
	require.NoError(e.t, err)
	require.True(e.t, ok, "the watch has ended")
	return ev
}

func puts(t testing.TB, r *replica.Replica, keys []crdt.Key, n int) {
	t.Helper()
	require.NoError(t, r.Update(context.Background(), func(tx *replica.Tx) error {
		for _, k := range keys {
			if err := tx.Put(k, map[string]any{"n": n}); err != nil {
				return err
			}
		}
		return nil
	}))
}

// TestEachWatcherHearsWhatConcernsIt: of records, collections and all, some of which
// stall; those that begin later hear nothing of before.
func TestEachWatcherHearsWhatConcernsIt(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	r, ctx := open(t, nil), watching(t)
	var keys []crdt.Key
	for _, c := range []string{"a", "b", "c"} {
		for id := range 4 {
			keys = append(keys, crdt.Key{Collection: c, ID: fmt.Sprint(id)})
		}
	}
	type one struct {
		what crdt.Key
		*events
		want []string
		got  int
	}
	var all []*one
	begin := func(what crdt.Key) {
		seq := r.Watch(ctx, what.Collection)
		if what.ID != "" {
			seq = r.WatchRecord(ctx, what)
		}
		all = append(all, &one{what: what, events: read(t, seq)})
	}
	take := func(w *one) {
		ev := w.one()
		require.Equal(t, w.want[w.got], fmt.Sprint(ev.LSN, ev.Key), "watcher of %v", w.what)
		require.Equal(t, ev.LSN, ev.Position.Log.LSN)
		w.got++
	}
	for n := range 400 {
		if n%20 == 0 {
			what := keys[rng.IntN(len(keys))]
			begin([]crdt.Key{{}, {Collection: what.Collection}, what, what}[rng.IntN(4)])
		}
		st, err := r.Status(ctx)
		require.NoError(t, err)
		var set []crdt.Key
		for _, i := range rng.Perm(len(keys))[:1+rng.IntN(3)] {
			set = append(set, keys[i])
		}
		puts(t, r, set, n)
		for i, k := range set {
			for _, w := range all {
				if w.what == k || w.what == (crdt.Key{Collection: k.Collection}) || w.what == (crdt.Key{}) {
					w.want = append(w.want, fmt.Sprint(st.Log.LSN+crdt.LSN(i)+1, k))
				}
			}
		}
		for _, w := range all[len(all)/3:] { // the first third stalls
			for len(w.want) > w.got && rng.IntN(3) > 0 {
				take(w)
			}
		}
	}
	puts(t, r, keys, -1)
	for _, w := range all {
		for w.got < len(w.want) {
			take(w)
		}
		require.Equal(t, `{"n":-1}`, string(w.one().Value), "watcher of %v was told of too much", w.what)
	}
}

// TestWatchGoesOn: From each event the rest comes, no more and no less, also in
// another opening of the file; and what the log does not hold is an error.
func TestWatchGoesOn(t *testing.T) {
	r, ctx := torn(t, 3), watching(t)
	require.NoError(t, r.SetPolicy(ctx, "notes", crdt.Policy{Default: crdt.ResolverFWW}, nil))
	live := read(t, r.Watch(ctx, "notes"))
	put(t, r, "first", `{"n":0}`)
	begin := live.one().Position
	for i := range 6 {
		put(t, r, fmt.Sprint(i%2), fmt.Sprintf(`{"n":%d}`, i))
		puts(t, r, []crdt.Key{{Collection: "other", ID: "1"}, key("3"), key("4")}, i)
		if i%3 == 1 {
			require.NoError(t, r.SetPolicy(ctx, "notes", crdt.Policy{Default: []string{crdt.ResolverLWW, crdt.ResolverFWW}[i/3]}, nil))
			for n := 0; n < 3; {
				if ev := live.one(); ev.Kind == replica.EventView {
					n++
				}
			}
		}
	}
	put(t, r, "last", `{"n":1}`)
	r = openAt(t, r.Path(), nil)

	whole := read(t, r.Watch(ctx, "notes", replica.From(begin))).sorted("last", 6)
	require.Len(t, whole, 18+6)
	for i, ev := range whole {
		views := 0
		for _, later := range whole[i+1:] {
			if later.Kind == replica.EventView {
				views++
			}
		}
		last := "last"
		if ev.Kind == replica.EventView {
			last = "" // they came behind all changes
		}
		rest := read(t, r.Watch(ctx, "notes", replica.From(ev.Position))).sorted(last, views)
		require.Equal(t, names(whole[i+1:]), names(rest), "from event %d", i)
	}

	at := whole[3].Position
	bare := read(t, r.Watch(ctx, "notes", replica.From(replica.Position{Log: crdt.Cursor{LSN: at.Log.LSN}}))).sorted("last", 6)
	require.Equal(t, names(whole[4:]), names(bare))

	wrong := map[string]replica.Position{"epoch": at, "chain": at, "beyond": at, "bare": {Log: crdt.Cursor{LSN: 1 << 40}}, "negative": {Log: crdt.Cursor{LSN: -1}}, "view": at}
	change := func(name string, fn func(*replica.Position)) { p := wrong[name]; fn(&p); wrong[name] = p }
	change("epoch", func(p *replica.Position) { p.Log.Epoch++ })
	change("chain", func(p *replica.Position) { p.Log.Chain[0]++ })
	change("beyond", func(p *replica.Position) { p.Log.LSN = 1 << 40 })
	change("view", func(p *replica.Position) { p.View = 1 << 40 })
	for name, p := range wrong {
		_, err, ok := read(t, r.Watch(ctx, "notes", replica.From(p))).next()
		require.True(t, ok)
		require.ErrorIs(t, err, replica.ErrPosition, name)
		require.ErrorContains(t, err, "watch notes: ")
	}
	setViews(t, r, "UPDATE views SET seq = seq + 200000")
	_, err, _ := read(t, r.Watch(ctx, "notes", replica.From(at))).next()
	require.ErrorIs(t, err, replica.ErrPosition, "view changes that are kept no more")
}

// sorted reads up to the last change ("": there is none) and n view events, and returns
// the changes before these.
func (e *events) sorted(id string, n int) []replica.Event {
	e.t.Helper()
	var changes, views []replica.Event
	for last := id == ""; !last || len(views) < n; {
		ev := e.one()
		switch {
		case ev.Kind == replica.EventView:
			views = append(views, ev)
		case ev.Key.ID == id:
			last = true
		default:
			changes = append(changes, ev)
		}
	}
	return append(changes, views...)
}

func names(all []replica.Event) (names []string) {
	for _, ev := range all {
		names = append(names, fmt.Sprint(ev.Kind, ev.LSN, ev.Key, ev.Position.View))
	}
	return names
}

func setViews(t testing.TB, r *replica.Replica, statement string) {
	db, err := sql.Open("sqlite3", "file:"+r.Path()+"?_busy_timeout=10000")
	require.NoError(t, err)
	_, err = db.Exec(statement)
	require.NoError(t, err)
	require.NoError(t, db.Close())
}

// TestLatest: a slow loop meets the newest state of each record, and none twice.
func TestLatest(t *testing.T) {
	r, ctx := open(t, nil), watching(t)
	all, one := read(t, r.Watch(ctx, "notes", replica.Latest())), read(t, r.WatchRecord(ctx, key("2"), replica.Latest()))
	put(t, r, "0", `{"n":-1}`)
	put(t, r, "2", `{"n":-1}`)
	require.Equal(t, key("0"), all.one().Key)
	require.Equal(t, key("2"), one.one().Key)
	for i := range 300 {
		put(t, r, fmt.Sprint(i%3), fmt.Sprintf(`{"n":%d}`, i))
	}
	put(t, r, "2", `{"n":300}`) // right behind another one of it
	for i, n := range []int{297, 298, 300} {
		ev := all.one()
		require.Equal(t, fmt.Sprintf(`%d {"n":%d}`, i, n), ev.Key.ID+" "+string(ev.Value))
		require.True(t, ev.Origin.Local)
		require.Empty(t, ev.Diff)
	}
	put(t, r, "1", `{"n":1000}`)
	require.NoError(t, r.Update(ctx, func(tx *replica.Tx) error { return tx.Delete(key("2")) }))
	require.Equal(t, `{"n":1000}`, string(all.one().Value))
	for _, e := range []*events{all, one} {
		ev := e.one()
		require.Equal(t, key("2"), ev.Key)
		require.True(t, ev.Deleted)
	}
}

// TestWatchersHearOfConflicts: of one that begins, goes on and ends.
func TestWatchersHearOfConflicts(t *testing.T) {
	a, b, ctx := open(t, nil), open(t, nil), watching(t)
	net := network(t)
	serve(t, net, "b", b)
	link := net.Link("a", "b")
	put(t, a, "1", `{"x":0,"y":0,"z":0}`)
	syncWith(t, a, link)
	st, err := a.Status(ctx)
	require.NoError(t, err)
	put(t, a, "1", `{"x":1,"y":1,"z":0}`)
	put(t, b, "1", `{"x":2}`)
	put(t, b, "1", `{"z":1}`)
	put(t, b, "1", `{"y":2}`)
	syncWith(t, a, link)
	put(t, a, "1", `{"x":3}`)
	put(t, a, "1", `{"z":9}`)
	put(t, a, "1", `{"y":3}`)
	want := []replica.ConflictStep{0, replica.ConflictDetected, 0, replica.ConflictDetected, replica.ConflictResolved, 0, replica.ConflictResolved}
	for i, step := range want {
		e := read(t, a.Watch(ctx, "notes", replica.From(replica.Position{Log: st.Log})))
		for k := range i { // the others have read it as it went
			require.Equal(t, want[k], e.one().Conflict, "event %d", k)
		}
		ev := e.one()
		require.Equal(t, step, ev.Conflict)
		require.Zero(t, ev.Conflicts, "as it is now")
		st := read(t, a.Watch(ctx, "notes", replica.From(ev.Position)))
		if i+1 < len(want) {
			require.Equal(t, want[i+1], st.one().Conflict)
		}
	}
}
