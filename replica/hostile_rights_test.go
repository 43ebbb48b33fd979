package replica_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// authoredBy returns n changes of one record by an actor.
func authoredBy(t testing.TB, actor crdt.ActorID, n int) (changes []*crdt.Change) {
	h := crdt.NewHistory()
	for i := range n {
		e := h.Begin(actor, int64(1e12)+int64(i), nil)
		require.NoError(t, e.Put(nil, map[string]any{"n": int64(i)}, crdt.Merge))
		c, err := e.Commit("")
		require.NoError(t, err)
		changes = append(changes, c)
	}
	return changes
}

func actorOf(id crdt.ReplicaID) crdt.ActorID { return crdt.ActorID(string(id[:]) + "incarnat") }

// What a peer sends beyond its rights is refused with the reason, with the whole set,
// and leaves nothing behind, whatever is in it.
func TestFramesBeyondTheRights(t *testing.T) {
	net, ctx := network(t), context.Background()
	hub := open(t, nil)
	put(t, hub, "other", `{"v":1}`)
	sent := admit(t, net, "hub", hub, user("mine-"))
	p := dialRaw(t, net.Link("evil", "hub"))
	p.shake() // as replica 9, which wants everything
	own := authoredBy(t, actorOf(crdt.ReplicaID{9}), 9)
	of := func(collection, id string, data []byte) transport.Member {
		return transport.Member{Collection: collection, ID: id, Data: data}
	}
	good := of("notes", "mine-1", own[0].Raw())
	relayed := func(actor crdt.ActorID) transport.Member {
		return of("notes", "mine-1", authoredBy(t, actor, 1)[0].Raw())
	}
	before := contents(t, hub)
	for name, bad := range map[string]transport.Member{
		"another's record":         of("notes", "other", own[0].Raw()),
		"another collection":       of("tasks", "mine-1", own[0].Raw()),
		"the space's policy":       of("_godwit", "policy-notes", own[0].Raw()),
		"bytes that are no change": of("notes", "other", []byte("junk")),
		"no name":                  of("", "", own[0].Raw()),
		"early change":             of("notes", "other", own[3].Raw()),
		"another replica's actor":  relayed(actorOf(crdt.ReplicaID{8})),
		"the hub's actor":          relayed(actorOf(hub.ID())),
		"an actor of JavaScript":   relayed("short"),
	} {
		for _, set := range [][]transport.Member{{bad}, {good, bad}, {bad, good}} {
			require.Equal(t, map[string]int{transport.CodeRights: 1}, p.offer(transport.Set{Members: set}), name)
			require.Equal(t, before, contents(t, hub), name)
		}
	}
	held, err := hub.Held(ctx)
	require.NoError(t, err)
	require.Empty(t, held)
	require.Empty(t, p.offer(transport.Set{Members: []transport.Member{good}}))
	require.Equal(t, map[string]int{crdt.CodeChunk: 1}, p.offer(transport.Set{Members: []transport.Member{of("notes", "mine-1", []byte("junk"))}}),
		"what is invalid within the rights is quarantined as ever")

	zero := crdt.Cursor{Epoch: p.epoch}
	for range 3 { // asks for all again, from the beginning and from where it has not been
		p.send(&transport.Ack{Through: zero, Resend: true})
	}
	require.Empty(t, p.offer(transport.Set{Members: []transport.Member{of("notes", "mine-1", own[1].Raw())}}))
	for _, h := range heads(t, hub, "other") {
		require.False(t, sent.has(h[:]))
	}
	requireClean(t, hub)
}

// A peer that claims to be the hub itself may bring none of its actors.
func TestAPeerThatClaimsToBeTheHub(t *testing.T) {
	net := network(t)
	hub := open(t, nil)
	grant := user("mine-")
	grant.Subject = ""
	admit(t, net, "hub", hub, grant)
	p := dialRaw(t, net.Link("evil", "hub"))
	h := hello()
	h.Replica = hub.ID()
	p.shakeAs(h)
	c := authoredBy(t, actorOf(hub.ID()), 1)[0]
	require.Equal(t, map[string]int{transport.CodeRights: 1}, p.offer(single("mine-1", c.Raw())))
	require.Empty(t, contents(t, hub))
}

// A hub that refuses what it was never sent, again and again, fills no file.
func TestAFloodOfRefusals(t *testing.T) {
	net := network(t)
	a := open(t, nil)
	serve(t, net, "a", a)
	put(t, a, "1", `{"v":1}`)
	p := dialRaw(t, net.Link("evil", "a"))
	p.shake()
	for round := range 3 {
		var all []transport.Exception
		for i := range 5000 {
			all = append(all, transport.Exception{Collection: "notes", ID: fmt.Sprint(i % 2), Hash: crdt.Hash{byte(i), byte(i >> 8), byte(round)}, State: transport.Refused, Code: "x"})
		}
		p.send(&transport.Ack{Through: crdt.Cursor{Epoch: p.epoch}, Exceptions: all})
	}
	require.Empty(t, p.push(member("2", authored(t, 1)[0])))
	all, err := a.Refusals(context.Background())
	require.NoError(t, err)
	require.Len(t, all, persist.MaxRefusals)
	for _, f := range all {
		require.Equal(t, key("1"), f.Key, "the other one does not exist")
	}
}

// Even a peer that has the whole log sent again is not sent what it refused, until it
// grants other rights.
func TestWhatWasRefusedIsNotStreamedAgain(t *testing.T) {
	net := network(t)
	a := open(t, nil)
	serve(t, net, "a", a)
	put(t, a, "1", `{"v":1}`)
	put(t, a, "2", `{"v":1}`)
	streamed := func(rights byte, refuse ...string) (all []string) {
		p := dialRaw(t, net.Link("old", "a"))
		h := hello()
		h.Rights = crdt.Hash{rights}
		p.shakeAs(h)
		for {
			f, ok := p.recv().(*transport.Changes)
			if !ok {
				continue
			}
			ack := &transport.Ack{Through: f.Through}
			for _, set := range f.Sets {
				for _, m := range set.Members {
					all = append(all, m.ID)
					c, err := crdt.ParseChange(m.Data)
					require.NoError(t, err)
					if slices.Contains(refuse, m.ID) {
						ack.Exceptions = append(ack.Exceptions, transport.Exception{Collection: m.Collection, ID: m.ID, Hash: c.Hash(), State: transport.Refused, Code: transport.CodeRights})
					}
				}
			}
			p.send(ack)
			if f.End {
				require.Empty(t, p.push(member("x", authored(t, 1)[0])), "so that the ack was read")
				require.NoError(t, p.conn.Close())
				return all
			}
		}
	}
	require.Equal(t, []string{"1", "2"}, streamed(1, "1"))
	require.Equal(t, []string{"1: rights"}, refusals(t, a))
	require.Equal(t, []string{"2"}, streamed(1))
	require.Equal(t, []string{"1", "2"}, streamed(2, "2"))
	require.Eventually(t, func() bool {
		all, err := a.Refusals(context.Background())
		return err == nil && len(all) == 1
	}, wait, tick, "written down when the session has ended")
	require.Equal(t, []string{"2: rights"}, refusals(t, a))
}
