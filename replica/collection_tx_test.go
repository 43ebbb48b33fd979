package replica_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
)

type task struct {
	ID    string   `godwit:",id"`
	Title string   `json:"title"`
	Body  string   `godwit:"body,text,omitempty"`
	Votes int      `godwit:"votes,counter,omitempty"`
	Tags  []string `json:"tags,omitempty"`
	Sub   struct {
		N int `json:"n,omitempty"`
	} `json:"sub"`
}

func tasks(t testing.TB) (*replica.Replica, *replica.Collection[task]) {
	r := open(t, &replica.Options{Synchronous: persist.Normal})
	return r, replica.NewCollection[task](r, "notes")
}

func TestCreateNamesRecordsInOrder(t *testing.T) {
	r, c := tasks(t)
	ctx := context.Background()
	var ids []string
	require.NoError(t, r.Update(ctx, func(tx *replica.Tx) error {
		for range 5000 { // more than a millisecond counts
			id, err := c.In(tx).Create(task{Title: "x"})
			require.NoError(t, err)
			ids = append(ids, id)
		}
		return nil
	}))
	require.True(t, slices.IsSorted(ids))
	require.Len(t, slices.Compact(slices.Clone(ids)), 5000)
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, ids[0])

	id, err := c.Create(ctx, task{ID: "mine", Title: "x"})
	require.NoError(t, err)
	require.Equal(t, "mine", id)
	_, err = c.Create(ctx, task{ID: "mine", Title: "y"})
	require.ErrorIs(t, err, replica.ErrExists)
	require.NoError(t, c.Delete(ctx, "mine"))
	_, err = c.Create(ctx, task{ID: "mine", Title: "z"})
	require.NoError(t, err)
	n, err := c.Count(ctx)
	require.NoError(t, err)
	require.Equal(t, 5001, n)
}

func TestCollectionsAreSafeForConcurrentUse(t *testing.T) {
	r, c := tasks(t)
	ctx := context.Background()
	require.NoError(t, c.Put(ctx, "1", task{Title: "x"}))
	require.NoError(t, eight(10, func(w int) error {
		err := c.Edit(ctx, "1", func(v *task) error { v.Votes++; v.Tags = append(v.Tags, fmt.Sprint(w)); return nil })
		if err == nil {
			_, err = replica.NewCollection[line](r, "notes").Get(ctx, "1") // a type that is new here
		}
		if err == nil {
			_, err = c.Create(ctx, task{Title: fmt.Sprint(w)})
		}
		return err
	}))
	v, err := c.Get(ctx, "1")
	require.NoError(t, err)
	require.Equal(t, 80, v.Votes)
	require.Len(t, v.Tags, 80)
	n, err := c.Count(ctx)
	require.NoError(t, err)
	require.Equal(t, 81, n)
}

func TestFieldOperations(t *testing.T) {
	r, c := tasks(t)
	ctx := context.Background()
	require.NoError(t, c.Increment(ctx, "1", "votes", 2), "it creates the record")
	require.NoError(t, c.Increment(ctx, "1", "votes", -5))
	require.NoError(t, c.Append(ctx, "1", "tags", "a", "b"))
	require.NoError(t, c.Append(ctx, "1", "tags", "c"))
	require.NoError(t, c.Append(ctx, "1", "body", "They come"))
	require.NoError(t, c.Append(ctx, "1", "body", " and", " go"))
	require.NoError(t, c.SetPath(ctx, "1", "title", "Tides"))
	require.NoError(t, c.SetPath(ctx, "1", "sub.n", 7))
	require.NoError(t, c.SetPath(ctx, "1", "tags[1]", "B"))
	require.Equal(t, `{"body":"They come and go","sub":{"n":7},"tags":["a","B","c"],"title":"Tides","votes":-3}`, get(t, r, "1"))
	h, err := r.History(ctx, key("1"))
	require.NoError(t, err)
	require.Equal(t, crdt.Text("They come and go"), h.Value(nil)["body"])
	require.Equal(t, crdt.Counter(-3), h.Value(nil)["votes"])

	put(t, r, "2", `{"votes":4,"title":"x","tags":null}`)
	require.NoError(t, c.Increment(ctx, "2", "votes", 1), "an integer becomes a counter")
	require.NoError(t, c.Append(ctx, "2", "tags", "a"))
	require.Equal(t, `{"tags":["a"],"title":"x","votes":5}`, get(t, r, "2"))

	for name, err := range map[string]error{
		"increment a string":        c.Increment(ctx, "2", "title", 1),
		"increment nothing known":   c.Increment(ctx, "2", "nosuch", 1),
		"increment beyond int64":    c.Increment(ctx, "2", "votes", math.MaxInt64),
		"append to a string":        c.Append(ctx, "2", "title", "x"),
		"append another type":       c.Append(ctx, "2", "tags", 5),
		"append an int to a text":   c.Append(ctx, "2", "body", 5),
		"set another type":          c.SetPath(ctx, "2", "title", 5),
		"set null":                  c.SetPath(ctx, "2", "title", nil),
		"set a fraction":            c.SetPath(ctx, "2", "sub.n", 1.5),
		"set an element beyond":     c.SetPath(ctx, "2", "tags[9]", "x"),
		"set through a string":      c.SetPath(ctx, "2", "title.x", "x"),
		"set an index of a map":     c.SetPath(ctx, "2", "sub[0]", "x"),
		"set the id":                c.SetPath(ctx, "2", "ID", "x"),
		"set nothing":               c.SetPath(ctx, "2", "", "x"),
		"set a bad path":            c.SetPath(ctx, "2", "a..b", "x"),
		"set invalid UTF-8":         c.SetPath(ctx, "2", "title", "\xff"),
		"set what no record holds":  c.SetPath(ctx, "2", "title", make(chan int)),
		"set through a list by key": c.SetPath(ctx, "2", "tags.x", "x"),
	} {
		var typed *replica.Error
		require.ErrorAs(t, err, &typed, name)
		require.Equal(t, key("2"), typed.Record, name)
	}
	require.Equal(t, `{"tags":["a"],"title":"x","votes":5}`, get(t, r, "2"))
	requireClean(t, r)
}

func TestTransactionsSeeTheirOwnWrites(t *testing.T) {
	r, c := tasks(t)
	other := replica.NewCollection[map[string]any](r, "other")
	ctx := context.Background()
	for i := range 600 { // more than a page
		require.NoError(t, c.Put(ctx, fmt.Sprintf("%04d", i), task{Title: "old"}))
	}
	write := func(tx *replica.Tx) (want map[string]string) {
		in := c.In(tx)
		require.NoError(t, in.Put("0000a", task{Title: "new"}))
		require.NoError(t, in.Delete("0300"))
		require.NoError(t, in.Edit("0599", func(v *task) error { v.Title = "edited"; return nil }))
		require.NoError(t, in.Increment("9999", "votes", 3))
		require.NoError(t, in.Append("9999", "tags", "x"))
		require.NoError(t, in.SetPath("9999", "title", "set"))
		id, err := in.Create(task{ID: "~", Title: "created"})
		require.NoError(t, err)
		require.NoError(t, other.In(tx).Put("o", map[string]any{"n": 1}))
		got, err := in.Get("9999")
		require.NoError(t, err)
		require.Equal(t, task{ID: "9999", Title: "set", Votes: 3, Tags: []string{"x"}}, got)
		_, err = in.Get("0300")
		require.ErrorIs(t, err, replica.ErrNotFound)
		want = map[string]string{"0000a": "new", "0599": "edited", "9999": "set", id: "created"}
		for i := range 599 {
			if i != 300 {
				want[fmt.Sprintf("%04d", i)] = "old"
			}
		}
		got2 := titles(t, in.All())
		require.Equal(t, want, got2)
		n, err := in.Count()
		require.NoError(t, err)
		require.Equal(t, len(want), n)
		return want
	}
	before := contents(t, r)
	boom := errors.New("boom")
	for name, end := range map[string]func(cancel func()) error{
		"error":     func(func()) error { return boom },
		"cancelled": func(cancel func()) error { cancel(); return nil },
		"panic":     func(func()) error { panic(boom) },
	} {
		cctx, cancel := context.WithCancel(ctx)
		func() {
			defer func() { recover() }()
			require.Error(t, r.Update(cctx, func(tx *replica.Tx) error { write(tx); return end(cancel) }), name)
		}()
		cancel()
		require.Equal(t, before, contents(t, r), name)
	}
	var want map[string]string
	var kept replica.CollectionTx[task]
	require.NoError(t, r.Update(ctx, func(tx *replica.Tx) error { want = write(tx); kept = c.In(tx); return nil }))
	require.Equal(t, want, titles(t, c.All(ctx)))
	require.Error(t, kept.Put("late", task{Title: "x"}))
	_, err := kept.Count()
	require.Error(t, err)
	require.Equal(t, want, titles(t, c.All(ctx)))
	requireClean(t, r)
}

func titles(t *testing.T, all iter.Seq2[string, replica.Result[task]]) map[string]string {
	t.Helper()
	got := map[string]string{}
	last := ""
	for id, res := range all {
		require.NoError(t, res.Err)
		require.Greater(t, id, last)
		got[id], last = res.Value.Title, id
	}
	return got
}

// An edit that failed half-way takes its transaction with it, whatever the closure
// makes of its error.
func TestHalfAnEditIsNeverKept(t *testing.T) {
	r, c := tasks(t)
	ctx := context.Background()
	require.NoError(t, c.Put(ctx, "1", task{Title: "old"}))
	boom := errors.New("boom")
	err := r.Update(ctx, func(tx *replica.Tx) error {
		_ = tx.Edit(key("1"), func(e *crdt.Edit) error {
			require.NoError(t, e.Put(crdt.Path{{Key: "title"}}, "half", crdt.Merge))
			return boom
		})
		return c.In(tx).Put("2", task{Title: "x"})
	})
	require.ErrorIs(t, err, boom)
	err = r.Update(ctx, func(tx *replica.Tx) error {
		_ = c.In(tx).Edit("1", func(v *task) error { return boom })
		return c.In(tx).Put("2", task{Title: "kept"})
	})
	require.NoError(t, err, "an edit that wrote nothing before it failed spoils nothing")
	require.Equal(t, map[string]string{"1": "old", "2": "kept"}, titles(t, c.All(ctx)))
}

func TestBadInputOfCollections(t *testing.T) {
	r, c := tasks(t)
	ctx := context.Background()
	require.NoError(t, c.Put(ctx, "1", task{Title: "old"}))
	before := contents(t, r)
	over, cancel := context.WithCancel(ctx)
	cancel()
	ops := func(c *replica.Collection[task], ctx context.Context, id string, v task) map[string]error {
		_, getErr := c.Get(ctx, id)
		v.ID = id
		_, createErr := c.Create(ctx, v)
		_, allErr := c.PutAll(ctx, maps.All(map[string]task{id: v}))
		return map[string]error{
			"get": getErr, "create": createErr, "put all": allErr, "put": c.Put(ctx, id, v), "delete": c.Delete(ctx, id),
			"edit":      c.Edit(ctx, id, func(v *task) error { v.Title = "new"; return nil }),
			"increment": c.Increment(ctx, id, "votes", 1), "append": c.Append(ctx, id, "tags", "x"), "set": c.SetPath(ctx, id, "title", "x"),
		}
	}
	for _, id := range []string{"a/b", "a\x00", "\xff", strings.Repeat("x", 10_000)} {
		for op, err := range ops(c, ctx, id, task{Title: "x"}) {
			var typed *replica.Error
			require.ErrorAs(t, err, &typed, "%s %.20q", op, id)
			require.Equal(t, key(id), typed.Record)
		}
	}
	for op, err := range ops(c, over, "1", task{Title: "x"}) {
		require.ErrorIs(t, err, context.Canceled, op)
	}
	for op, err := range ops(replica.NewCollection[task](r, "_godwit"), ctx, "1", task{Title: "x"}) {
		if op == "get" || op == "delete" || op == "edit" {
			require.ErrorIs(t, err, replica.ErrNotFound, op)
		} else {
			require.ErrorIs(t, err, replica.ErrReserved, op)
		}
	}
	huge := strings.Repeat("x", 100<<20)
	for op, err := range map[string]error{
		"put": c.Put(ctx, "big", task{Title: huge}), "text": c.Put(ctx, "big", task{Body: huge}),
		"edit": c.Edit(ctx, "1", func(v *task) error { v.Title = huge; return nil }),
		"set":  c.SetPath(ctx, "1", "title", huge), "append": c.Append(ctx, "1", "tags", huge), "append text": c.Append(ctx, "1", "body", huge),
		"a text of many characters": c.Put(ctx, "big", task{Body: huge[:7<<20]}),
	} {
		require.ErrorIs(t, err, replica.ErrTooLarge, op)
		var typed *replica.Error
		require.ErrorAs(t, err, &typed, op)
	}
	for name, err := range map[string]error{
		"invalid UTF-8": c.Put(ctx, "1", task{Title: "\xff"}),
		"no fields": replica.NewCollection[struct {
			A int `json:",omitempty"`
		}](r, "notes").Put(ctx, "new", struct {
			A int `json:",omitempty"`
		}{}),
	} {
		require.Error(t, err, name)
	}
	require.Equal(t, before, contents(t, r))
	require.NoError(t, c.Put(ctx, "1", task{Title: "usable"}))
	require.NoError(t, r.Close())
	for op, err := range ops(c, ctx, "1", task{Title: "x"}) {
		require.ErrorIs(t, err, replica.ErrClosed, op)
	}
	for _, res := range c.All(ctx) {
		require.ErrorIs(t, res.Err, replica.ErrClosed)
	}
}

// endsAt is a context that ends when it is looked at for the n-th time.
type endsAt struct {
	context.Context
	left atomic.Int64
	done chan struct{}
	once sync.Once
}

func endAt(n int) *endsAt {
	c := &endsAt{Context: context.Background(), done: make(chan struct{})}
	c.left.Store(int64(n))
	return c
}

func (c *endsAt) Err() error {
	if c.left.Add(-1) >= 0 {
		return nil
	}
	c.once.Do(func() { close(c.done) })
	return context.Canceled
}

func (c *endsAt) Done() <-chan struct{} {
	_ = c.Err()
	return c.done
}

// Wherever a context ends, what was to be written is there whole or not at all, and
// the answer is the truth.
func TestContextsThatEndAtEveryPoint(t *testing.T) {
	r, c := tasks(t)
	require.NoError(t, c.Put(context.Background(), "1", task{Title: "old"}))
	many := func(yield func(string, task) bool) {
		for i := range 2*replica.PutAllRecords + 1 {
			if !yield(fmt.Sprintf("many%05d", i), task{Title: "m"}) {
				return
			}
		}
	}
	for name, op := range map[string]func(ctx context.Context) error{
		"get":   func(ctx context.Context) error { _, err := c.Get(ctx, "1"); return err },
		"count": func(ctx context.Context) error { _, err := c.Count(ctx); return err },
		"put":   func(ctx context.Context) error { return c.Put(ctx, "put", task{Title: "x"}) },
		"edit": func(ctx context.Context) error {
			return c.Edit(ctx, "1", func(v *task) error { v.Title += "!"; return nil })
		},
		"increment": func(ctx context.Context) error { return c.Increment(ctx, "1", "votes", 1) },
		"create":    func(ctx context.Context) error { _, err := c.Create(ctx, task{Title: "x"}); return err },
		"delete":    func(ctx context.Context) error { return c.Delete(ctx, "put") },
		"all": func(ctx context.Context) error {
			for _, res := range c.All(ctx) {
				if res.Err != nil {
					return res.Err
				}
			}
			return nil
		},
		"two": func(ctx context.Context) error {
			return r.Update(ctx, func(tx *replica.Tx) error {
				return errors.Join(c.In(tx).Put("two", task{Title: "x"}), c.In(tx).Put("three", task{Title: "x"}))
			})
		},
	} {
		if name == "delete" {
			require.NoError(t, c.Put(context.Background(), "put", task{Title: "x"}))
		}
		before := contents(t, r)
		n := 0
		for ; ; n++ {
			err := op(endAt(n))
			if err == nil {
				break
			}
			require.ErrorIs(t, err, context.Canceled, name)
			require.Equal(t, before, contents(t, r), "%s, ended at %d", name, n)
		}
		require.NotZero(t, n, "%s heeds no context", name)
	}
	for n := 0; ; n += 97 {
		done, err := c.PutAll(endAt(n), many)
		count := 0
		for id := range c.All(context.Background()) {
			if strings.HasPrefix(id, "many") {
				count++
			}
		}
		if err == nil {
			require.Equal(t, 2*replica.PutAllRecords+1, done)
			break
		}
		require.ErrorIs(t, err, context.Canceled)
		require.GreaterOrEqual(t, count, done)
		require.Zero(t, done%replica.PutAllRecords)
	}
	requireClean(t, r)
}

func TestPutAll(t *testing.T) {
	r, c := tasks(t)
	ctx := context.Background()
	seq := func(n int, each func(i int) (string, task)) iter.Seq2[string, task] {
		return func(yield func(string, task) bool) {
			for i := range n {
				if !yield(each(i)) {
					return
				}
			}
		}
	}
	good := func(i int) (string, task) { return fmt.Sprintf("%05d", i), task{Title: "t"} }
	const many = 2*replica.PutAllRecords + 100
	n, err := c.PutAll(ctx, seq(many, good))
	require.NoError(t, err)
	require.Equal(t, many, n)
	before := contents(t, r)
	n, err = c.PutAll(ctx, seq(many, good))
	require.NoError(t, err)
	require.Equal(t, many, n)
	require.Equal(t, before, contents(t, r), "doing it again writes nothing")

	for name, bad := range map[string]func(i int) (string, task){
		"id":               func(int) (string, task) { return "a/b", task{Title: "x"} },
		"value":            func(i int) (string, task) { return "bad", task{Title: "\xff"} },
		"size":             func(i int) (string, task) { return "bad", task{Title: strings.Repeat("x", 9<<20)} },
		"ops":              func(i int) (string, task) { return "bad", task{Body: strings.Repeat("x", 3<<20)} },
		"after cancelling": nil,
	} {
		t.Run(name, func(t *testing.T) {
			r, c := tasks(t)
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			const fine = replica.PutAllRecords + 7
			n, err := c.PutAll(ctx, seq(many, func(i int) (string, task) {
				if i == fine && bad != nil {
					return bad(i)
				}
				if i == fine {
					cancel()
				}
				return good(i)
			}))
			var typed *replica.Error
			require.ErrorAs(t, err, &typed)
			require.NotEmpty(t, typed.Record.ID)
			require.Equal(t, replica.PutAllRecords, n)
			got, err := c.Count(context.Background())
			require.NoError(t, err)
			require.Equal(t, n, got, "the sets before, and nothing else")
			n, err = c.PutAll(context.Background(), seq(many, good))
			require.NoError(t, err)
			require.Equal(t, many, n)
			requireClean(t, r)
		})
	}
	n, err = c.PutAll(ctx, seq(3, func(i int) (string, task) { return "", task{Title: "named"} }))
	require.NoError(t, err)
	require.Equal(t, 3, n)
	count, err := c.Count(ctx)
	require.NoError(t, err)
	require.Equal(t, many+3, count)
	v, err := c.Get(ctx, "00001") // the sequence may read the replica
	require.NoError(t, err)
	n, err = c.PutAll(ctx, seq(1, func(int) (string, task) { got, _ := c.Get(ctx, "00001"); return "copy", got }))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, "t", v.Title)
}

// Counters that two new replicas increment before they ever met add up under sum.
func TestCountersOfReplicasThatNeverMetAddUp(t *testing.T) {
	ctx := context.Background()
	net := network(t)
	a, b := open(t, nil), open(t, nil)
	serve(t, net, "b", b)
	ca, cb := replica.NewCollection[task](a, "notes"), replica.NewCollection[task](b, "notes")
	for i, c := range []*replica.Collection[task]{ca, cb} {
		require.NoError(t, c.Increment(ctx, "1", "votes", int64(3+i)))
		require.NoError(t, c.Increment(ctx, "1", "votes", 10))
	}
	require.NoError(t, a.SetSpacePolicy(ctx, "notes", crdt.Policy{Fields: []crdt.FieldPolicy{{Field: "votes", Resolver: "sum"}}}, nil))
	syncWith(t, a, net.Link("a", "b"))
	syncWith(t, a, net.Link("a", "b"))
	for _, c := range []*replica.Collection[task]{ca, cb} {
		v, err := c.Get(ctx, "1")
		require.NoError(t, err)
		require.Equal(t, 27, v.Votes)
	}
	require.NoError(t, ca.Increment(ctx, "1", "votes", 1))
	require.NoError(t, cb.Increment(ctx, "1", "votes", 1))
	require.NoError(t, cb.Edit(ctx, "1", func(v *task) error { v.Votes += 2; return nil }))
	syncWith(t, a, net.Link("a", "b"))
	for _, c := range []*replica.Collection[task]{ca, cb} {
		v, err := c.Get(ctx, "1")
		require.NoError(t, err)
		require.Equal(t, 31, v.Votes)
	}
	requireEqual(t, a, b)
}
