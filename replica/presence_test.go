package replica_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

// mesh opens replicas that are connected along the edges.
func mesh(t *testing.T, n int, edges ...[2]int) (*memlink.Network, []*replica.Replica, func(a, b int) *replica.Connection) {
	net := network(t)
	var all []*replica.Replica
	for i := range n {
		r := open(t, &replica.Options{Space: "crew"})
		serve(t, net, fmt.Sprint(i), r)
		all = append(all, r)
	}
	connect := func(a, b int) *replica.Connection {
		c, err := all[a].Connect(net.Link(fmt.Sprint(a), fmt.Sprint(b)))
		require.NoError(t, err)
		return c
	}
	for _, e := range edges {
		connect(e[0], e[1])
	}
	time.Sleep(time.Second)
	return net, all, connect
}

func room(t *testing.T, r *replica.Replica) *replica.Room {
	m, err := r.Room("kitchen")
	require.NoError(t, err)
	return m
}

// states returns what the room shows, in the order of the states.
func states(m *replica.Room) map[string]bool {
	all := map[string]bool{}
	for _, w := range m.Members() {
		all[string(w.State)] = true
	}
	return all
}

// follow collects the events of a room as words, until the bubble ends.
func follow(t *testing.T, m *replica.Room) func() []string {
	ctx, cancel := context.WithCancel(context.Background())
	var words []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ev := range m.Watch(ctx) {
			text := string(ev.Member.State)
			if ev.Kind == replica.RoomMessage {
				text = string(ev.Message)
			}
			words = append(words, string(ev.Kind)+" "+text)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return func() []string {
		synctest.Wait()
		got := words
		words = nil
		return got
	}
}

func TestPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A ring with a tail: notes come by two ways.
		net, all, connect := mesh(t, 5, [2]int{0, 1}, [2]int{1, 2}, [2]int{2, 3}, [2]int{3, 0}, [2]int{3, 4})
		here, there := room(t, all[0]), room(t, all[4])
		events := follow(t, there)
		require.NoError(t, here.Set("at the stove"))
		time.Sleep(time.Second)
		require.Equal(t, []string{`join "at the stove"`}, events())
		require.NoError(t, here.Set("at the sink"))
		require.NoError(t, here.Send("dinner"))
		require.NoError(t, here.Send("is ready"))
		time.Sleep(time.Second)
		require.Equal(t, []string{`update "at the sink"`, `message "dinner"`, `message "is ready"`}, events())

		t.Log("two members of one replica, and one who comes later sees both")
		also := room(t, all[0])
		require.NoError(t, also.Set("at the door"))
		time.Sleep(time.Second)
		require.Equal(t, map[string]bool{`"at the sink"`: true, `"at the door"`: true}, states(there))
		late := open(t, &replica.Options{Space: "crew"})
		c, err := late.Connect(net.Link("late", "2"))
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.Equal(t, states(there), states(room(t, late)))
		require.NoError(t, c.Close())

		t.Log("nothing is forgotten while it is said again")
		time.Sleep(10 * time.Minute)
		require.Equal(t, []string{`join "at the door"`}, events())

		t.Log("leaving")
		require.NoError(t, also.Leave())
		time.Sleep(time.Second)
		require.Equal(t, []string{`leave "at the door"`}, events())
		require.NoError(t, also.Set("back"))
		time.Sleep(time.Second)
		require.Equal(t, []string{`join "back"`}, events())
		require.NoError(t, also.Leave())

		t.Log("one link of the ring less: it is there on the other way")
		net.Partition("0", "1")
		net.Cut("0", "1")
		time.Sleep(5 * time.Minute)
		require.Equal(t, map[string]bool{`"at the sink"`: true}, states(there))
		events()

		t.Log("cut off: time is up")
		net.Partition("0", "3")
		time.Sleep(5 * time.Minute)
		require.Equal(t, []string{`timeout "at the sink"`}, events())
		require.Empty(t, states(there))
		require.Equal(t, map[string]bool{`"at the sink"`: true}, states(here), "who is cut off still is where it is")
		net.HealAll()
		time.Sleep(5 * time.Minute)
		require.Equal(t, []string{`join "at the sink"`}, events())

		t.Log("its replica is closed: its neighbours notice")
		require.NoError(t, all[0].Close())
		time.Sleep(12 * time.Second)
		require.Equal(t, []string{`leave "at the sink"`}, events())
		require.ErrorIs(t, here.Set("gone"), replica.ErrClosed)
		_ = connect
	})
}

func TestPresenceBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, &replica.Options{Space: "crew"})
		_, err := r.Room("")
		require.ErrorIs(t, err, replica.ErrPresence)
		_, err = r.Room(strings.Repeat("x", transport.MaxRoom+1))
		require.ErrorIs(t, err, replica.ErrPresence)
		m := room(t, r)
		require.ErrorIs(t, m.Set(make(chan int)), replica.ErrPresence)
		require.ErrorIs(t, m.Send(strings.Repeat("x", transport.MaxNote)), replica.ErrPresence)
		require.Empty(t, m.Members())

		t.Log("a watcher that does not look loses messages, not states")
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		require.NoError(t, m.Set(-1))
		messages, last := 0, ""
		for ev := range m.Watch(ctx) {
			switch ev.Kind {
			case replica.RoomJoin:
				for i := range 1000 {
					require.NoError(t, m.Send(i))
					require.NoError(t, m.Set(i))
				}
			case replica.RoomUpdate:
				last = string(ev.Member.State)
			case replica.RoomMessage:
				messages++
			}
			if string(ev.Message) == "999" {
				break
			}
		}
		require.Equal(t, "999", last)
		require.Equal(t, 256, messages)
	})
}

// What a peer says of others is taken only if it may relay, and never against who is
// here; a flood of members stays bounded.
func TestPresenceOfAHostilePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := open(t, &replica.Options{Space: "crew"})
		net := network(t)
		grant := transport.FullGrant()
		grant.Relay = false
		_, err := net.Listen("hub", func(ctx context.Context, c transport.Conn) error { return hub.Accept(ctx, c, grant) })
		require.NoError(t, err)
		mine := room(t, hub)
		require.NoError(t, mine.Set("mine"))
		seen := hub.ID()

		evil := dialRaw(t, net.Link("evil", "hub"))
		me, self := crdt.ReplicaID{9}, mine.Members()[0].ID
		evil.shakeAs(&transport.Hello{Protocol: transport.ProtocolVersion, Replica: me, Epoch: 99, Log: evil.at, Want: transport.Everything(), Knows: []string{transport.KnowsPresence}})
		note := func(r crdt.ReplicaID, seq uint64, kind transport.NoteKind, data string) {
			evil.send(&transport.Presence{Notes: []transport.Note{{Room: "kitchen", Replica: r, Member: self, Seq: seq, Kind: kind, Holds: transport.MaxPresence, Data: []byte(data)}}})
			time.Sleep(time.Second)
		}
		note(crdt.ReplicaID{8}, 1, transport.NoteState, `"forged"`)
		note(seen, 1<<62-1, transport.NoteLeave, ``)
		note(seen, 1<<62-1, transport.NoteState, `"forged"`)
		note(me, 1, transport.NoteState, `no JSON`)
		require.Equal(t, map[string]bool{`"mine"`: true}, states(mine))
		note(me, 1, transport.NoteState, `"evil"`)
		note(me, 1, transport.NoteState, `"again"`)
		require.Equal(t, map[string]bool{`"mine"`: true, `"evil"`: true}, states(mine))

		for i := range 3000 {
			f := &transport.Presence{}
			for j := range transport.MaxNotes {
				f.Notes = append(f.Notes, transport.Note{Room: "kitchen", Replica: me, Member: uint64(i*transport.MaxNotes + j), Seq: 1, Kind: transport.NoteState, Holds: time.Minute, Data: []byte(strings.Repeat("7", 500))})
			}
			evil.send(f)
		}
		time.Sleep(time.Second)
		require.Less(t, len(mine.Members()), 1<<16)
		time.Sleep(5 * time.Minute)
		require.Equal(t, map[string]bool{`"mine"`: true}, states(mine))
	})
}
