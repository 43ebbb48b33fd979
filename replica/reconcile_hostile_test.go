package replica_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
)

// liar is a peer whose cursor is not what it was, and what it answers then.
type liar struct {
	digest func(*transport.Digest) *transport.Digest
	need   func(*transport.Need) *transport.Need
	read   crdt.LSN      // where the cursor is then
	set    transport.Set // sent before each answer to a Need, if it has members
	most   int           // requests that it costs; 0: 300
}

// Peers that lie about prints, items, heads and clocks cost a bounded number of
// requests. The session goes on, and the cursor stays where it was: nobody knows
// whether all of the peer's is here.
func TestAPeerThatLiesWhileReconciling(t *testing.T) {
	rng := rand.New(&lockedSource{src: rand.NewPCG(7, 7)}) // the subtests run at once
	noise := func(f *transport.Digest) *transport.Digest {
		for i := range f.Ranges {
			r := &f.Ranges[i]
			if r.Bits >= 60 {
				r.Prints, r.Items = nil, nil
				continue
			}
			r.Items, r.Prints = nil, make([]transport.Print, 4)
			for j := range r.Prints {
				binary.BigEndian.PutUint64(r.Prints[j][:], rng.Uint64())
			}
		}
		return f
	}
	invented := func(f *transport.Digest) *transport.Digest {
		for i := range f.Ranges {
			r := &f.Ranges[i]
			r.Prints, r.Items = nil, nil
			for j := range 32 {
				r.Items = append(r.Items, transport.Item{Place: r.Prefix | uint64(j)<<3&(1<<(64-r.Bits)-1), Heads: rng.Uint64()})
			}
		}
		return f
	}
	each := func(say func(h *transport.Have)) func(*transport.Need) *transport.Need {
		return func(f *transport.Need) *transport.Need {
			for i := range f.Haves {
				h := &f.Haves[i]
				if h.Key != (crdt.Key{}) {
					h.Place = replica.PlaceOf(h.Key)
				}
				say(h)
			}
			return f
		}
	}
	held := authored(t, 1)[0]
	further := func(next func(crdt.LSN) crdt.LSN) func(*transport.Need) *transport.Need {
		return func(f *transport.Need) *transport.Need {
			for i := range f.Haves {
				h := &f.Haves[i]
				h.Heads, h.All = h.Heads+1, true
				if h.Key != (crdt.Key{}) {
					h.Place = replica.PlaceOf(h.Key)
				}
			}
			f.Behind = next(f.Behind)
			return f
		}
	}
	more := each(func(h *transport.Have) { h.Heads, h.All = h.Heads+1, true })
	for name, l := range map[string]liar{
		"prints that never match": {digest: noise, need: each(func(h *transport.Have) { h.Heads++ }), read: 1},
		"records that it does not have": {digest: invented, need: each(func(h *transport.Have) {
			h.Key, h.Heads = key("ghost"), rng.Uint64()
			h.Place = replica.PlaceOf(h.Key)
		}), read: 1},
		"there is always more to come": {digest: invented, need: more, read: 1, most: 40},
		"there is always more to come, of what came already": {digest: invented, need: more, read: 1, most: 40,
			set: transport.Set{Members: []transport.Member{member("real", held)}}},
		"there is always more to come, further on": {digest: invented, need: further(func(at crdt.LSN) crdt.LSN { return at + 1 }), read: 1, most: 100},
		"there is always more to come, further on, of what came already": {digest: invented, need: further(func(at crdt.LSN) crdt.LSN { return at + 1<<40 }), read: 1, most: 100,
			set: transport.Set{Members: []transport.Member{member("real", held)}}},
		"there is always more to come, further back":  {digest: invented, need: further(func(at crdt.LSN) crdt.LSN { return max(at, 1<<50) - 1 }), read: 1},
		"more is to come at the end of all positions": {digest: invented, need: further(func(crdt.LSN) crdt.LSN { return math.MaxInt64 }), read: 1},
		"it always lacks everything": {digest: invented, need: each(func(h *transport.Have) {
			h.Heads, h.Clock = h.Heads+1, crdt.Clock{"nobody": 1}
		}), read: 1},
		"the answer is about something else": {digest: invented, need: each(func(h *transport.Have) { h.Place++ }), read: 1},
		"change sets that do not come":       {digest: invented, need: func(f *transport.Need) *transport.Need { f.Loose = 1 << 60; return f }, read: 1},
		"it wants to compare something else": {digest: func(f *transport.Digest) *transport.Digest {
			f.Scopes = []transport.Scope{notes("secret")}
			return f
		}, need: each(func(h *transport.Have) { h.Heads++ }), read: 0}, // as if it showed no more: nobody else loses by it
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			net := network(t)
			r := openAt(t, filepath.Join(t.TempDir(), "r.db"), &replica.Options{Synchronous: persist.Normal})
			serve(t, net, "r", r)
			putMany(t, r, 0, 300, "x")
			met := dialRaw(t, net.Link("liar", "r"))
			met.shake()
			require.Empty(t, met.push(member("real", held)))
			require.NoError(t, met.conn.Close())

			p := dialRaw(t, net.Link("liar", "r"))
			p.lost = true
			p.shake()
			requests := p.lie(l)
			require.Less(t, requests, cmp.Or(l.most, 300))
			require.Positive(t, requests)
			require.Equal(t, l.read, readOf(t, r).LSN)
			requireClean(t, r)
		})
	}
}

// lie answers until the replica has had enough; it returns how many requests it took.
func (p *rawPeer) lie(l liar) (requests int) {
	for {
		f, err := p.conn.Recv(context.Background())
		require.NoError(p.t, err)
		switch f := f.(type) {
		case *transport.Digest:
			requests++
			f = l.digest(f)
			f.Answer = true
			p.send(f)
		case *transport.Need:
			requests++
			f.Loose = 0
			f = l.need(f)
			f.Answer = true
			if len(l.set.Members) > 0 {
				p.send(&transport.Changes{Loose: f.ID, Sets: []transport.Set{l.set}})
				f.Loose = 1
			}
			p.send(f)
		case *transport.Changes:
			if f.Loose == 0 {
				p.send(&transport.Ack{Through: f.Through})
			}
			if f.End {
				return requests
			}
		case *transport.Error:
			return requests
		}
	}
}

// What goes on slowly is not what leads nowhere: a peer that gives, or takes, one change
// of three hundred at a time gets to the end.
func TestReconciliationGoesOnWhileItLeadsToSomething(t *testing.T) {
	const n = 300
	place := replica.PlaceOf(key("real"))
	begin := func(t *testing.T, before int) (*replica.Replica, *rawPeer, []*crdt.Change) {
		net := network(t)
		r := openAt(t, filepath.Join(t.TempDir(), "r.db"), &replica.Options{Synchronous: persist.Normal})
		serve(t, net, "r", r)
		changes := authored(t, n)
		met := dialRaw(t, net.Link("slow", "r"))
		met.shake()
		for _, c := range changes[:before] {
			require.Empty(t, met.push(member("real", c)))
		}
		require.NoError(t, met.conn.Close())
		p := dialRaw(t, net.Link("slow", "r"))
		p.lost, p.at.LSN = true, n+1
		p.shake()
		return r, p, changes
	}
	listed := func(f *transport.Digest) *transport.Digest {
		f.Ranges = []transport.Range{{Bits: 64, Prefix: place, Items: []transport.Item{{Place: place, Heads: 1}}}}
		return f
	}
	for name, step := range map[string]struct {
		before int
		have   func(i int, h *transport.Have) // what it has after i answers
	}{
		"it gives": {1, func(_ int, h *transport.Have) { h.Heads, h.Clock, h.All = 1, nil, true }},
		"it takes": {n, func(i int, h *transport.Have) {
			h.Heads, h.Clock = uint64(i), crdt.Clock{"sixteen bytes!!!": uint64(i)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, p, changes := begin(t, step.before)
			i := 0
			p.lie(liar{digest: listed, need: func(f *transport.Need) *transport.Need {
				h := &f.Haves[0]
				h.Key, h.Place = key("real"), place
				if i++; i >= n {
					return f // as this side has it
				}
				if step.have(i, h); step.before < n {
					p.send(&transport.Changes{Loose: f.ID, Sets: []transport.Set{{Members: []transport.Member{member("real", changes[i])}}}})
					f.Loose = 1
				}
				return f
			}})
			require.Equal(t, crdt.LSN(n+1), readOf(t, r).LSN, "it came to its end")
			require.Equal(t, fmt.Sprintf(`{"n":%d}`, n-1), get(t, r, "real"))
		})
	}
}

// readOf returns how far the file says that the only peer was read.
func readOf(t testing.TB, r *replica.Replica) (read crdt.Cursor) {
	s, err := persist.Open(context.Background(), r.Path(), nil)
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Read(context.Background(), func(rd *persist.Reader) error {
		peers, err := rd.Peers()
		read = peers[0].Read
		return err
	}))
	return read
}

// Whatever a peer asks, it learns nothing of what it may not read: no name,
// head or actor, not even whether there is something.
func TestReconciliationShowsWhatMayBeRead(t *testing.T) {
	net := network(t)
	r := open(t, nil)
	putMany(t, r, 0, 100, "open")
	put(t, r, "secret", `{"v":"hidden"}`)
	require.NoError(t, r.Update(context.Background(), func(tx *replica.Tx) error { // one set over both
		if err := tx.Put(key("r-00003"), map[string]any{"v": "seen"}); err != nil {
			return err
		}
		return tx.Put(key("secret-2"), map[string]any{"v": "hidden"})
	}))
	tap := admit(t, net, "r", r, &transport.Grant{Read: notes("r-"), Write: transport.Everything(), Relay: true})
	p := dialRaw(t, net.Link("spy", "r"))
	p.lost = true
	p.shake()
	digest := func(scopes []transport.Scope, ranges ...transport.Range) *transport.Digest {
		p.send(&transport.Digest{ID: 5, Scopes: scopes, Ranges: ranges})
		for {
			if f, ok := p.recv().(*transport.Digest); ok {
				require.True(t, f.Answer)
				return f
			}
		}
	}
	need := func(n *transport.Need) (*transport.Need, []transport.Set) {
		n.ID = 6
		p.send(n)
		var sets []transport.Set
		for {
			switch f := p.recv().(type) {
			case *transport.Changes:
				if f.Loose != 0 {
					sets = append(sets, f.Sets...)
				}
			case *transport.Need:
				return f, sets
			}
		}
	}
	all := digest(nil, transport.Range{})
	require.Empty(t, all.Ranges, "first it says what may be compared")
	require.Len(t, all.Scopes, 1)
	var places []uint64
	for ask := []transport.Range{{}}; len(ask) > 0; {
		got := digest(all.Scopes, ask...)
		ask = nil
		for _, r := range got.Ranges {
			for i := range r.Prints {
				fan := uint8(0)
				for 1<<fan < len(r.Prints) {
					fan++
				}
				ask = append(ask, transport.Range{Bits: r.Bits + fan, Prefix: r.Prefix | uint64(i)<<(64-r.Bits-fan)})
			}
			for _, it := range r.Items {
				places = append(places, it.Place)
			}
		}
	}
	require.Len(t, places, 100)
	require.NotContains(t, places, replica.PlaceOf(key("secret")))
	secret := crdt.Key{Collection: "notes", ID: "secret"}
	for _, names := range []bool{false, true} {
		got, sets := need(&transport.Need{Names: names, Haves: []transport.Have{
			{Key: secret, All: true}, {Place: replica.PlaceOf(secret), All: true}, {Key: key("nothing")}}})
		require.Empty(t, sets)
		for i, h := range got.Haves {
			require.Zero(t, h.Heads, i)
			require.Nil(t, h.Clock, i)
			require.False(t, h.All, i)
		}
		require.Equal(t, got.Haves[0].Shut, got.Haves[2].Shut)
	}
	_, sets := need(&transport.Need{Haves: []transport.Have{{Key: key("r-00003")}}})
	require.NotEmpty(t, sets)
	for _, s := range sets {
		for _, m := range s.Members {
			require.Regexp(t, "^r-", m.ID, "a set goes as far as it may be read")
		}
	}
	require.NoError(t, p.conn.Close())
	for _, h := range heads(t, r, "secret") {
		require.False(t, tap.has(h[:8]), "a head")
	}
	require.False(t, tap.has([]byte("hidden")), "a value")
}

// What a link carries is what is reconciled over it.
func TestReconciliationOfAPart(t *testing.T) {
	for name, c := range map[string]struct {
		opts  []replica.LinkOption
		grant transport.Grant
		back  map[string]bool // which come back to a dialler that has lost them
		there map[string]bool // which come back to a listener that has
	}{
		"a selector": {[]replica.LinkOption{replica.Only(notes("r-"))}, transport.FullGrant(),
			map[string]bool{"r-1": true, "x": false}, map[string]bool{"r-1": true, "x": false}},
		"rights": {nil, transport.Grant{Read: notes("r-"), Write: notes("r-"), Relay: true, Admin: true},
			map[string]bool{"r-1": true, "x": false}, map[string]bool{"r-1": true, "x": false}},
		"pull only": {[]replica.LinkOption{replica.PullOnly()}, transport.FullGrant(),
			map[string]bool{"r-1": true, "x": true}, map[string]bool{"r-1": false, "x": false}},
		"push only": {[]replica.LinkOption{replica.PushOnly()}, transport.FullGrant(),
			map[string]bool{"r-1": false, "x": false}, map[string]bool{"r-1": true, "x": true}},
	} {
		for _, who := range []string{"dialler", "listener"} {
			t.Run(name+", "+who, func(t *testing.T) {
				t.Parallel()
				p := newPair(t)
				lost, want := p.b, c.back
				if who == "listener" {
					lost, want = p.a, c.there
				}
				p.save(t, lost)
				putMany(t, p.a.r, 0, 40, "more")
				put(t, p.b.r, "r-1", `{"v":1}`)
				put(t, p.b.r, "x", `{"v":1}`)
				p.sync(t)
				p.restore(t, lost)
				put(t, lost.r, "after", `{"v":1}`)

				admit(t, p.net, "part", p.a.r, &c.grant)
				link := p.net.Link("b", "part")
				for range 2 {
					_, _ = p.b.r.Sync(context.Background(), link, c.opts...) // rights may make it incomplete
				}
				for id, back := range want {
					_, err := lost.r.Get(context.Background(), key(id))
					require.Equal(t, back, err == nil, "%s: %v", id, err)
				}
				if name == "a selector" || name == "rights" {
					v := verify(t, p.b.r, link, c.opts...)
					require.Empty(t, named(v))
					require.Len(t, v.Scopes, 1)
				}
				p.sync(t)
				require.Empty(t, bruteForce(t, p.a.r, p.b.r), "with all of it in the end")
			})
		}
	}
}

// lockedSource is a source for several goroutines.
type lockedSource struct {
	mu  sync.Mutex
	src rand.Source
}

func (l *lockedSource) Uint64() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.src.Uint64()
}
