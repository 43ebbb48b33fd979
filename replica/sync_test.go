package replica_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
)

func TestReplicasThatEditedApartConverge(t *testing.T) {
	net := network(t)
	hub, a, b := open(t, nil), open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	put(t, a, "1", `{"title":"one"}`)
	put(t, b, "2", `{"title":"two"}`)
	for range 2 {
		syncWith(t, a, net.Link("a", "hub"))
		syncWith(t, b, net.Link("b", "hub"))
	}
	requireEqual(t, hub, a, b)
	put(t, a, "1", `{"title":"ONE","x":1}`)
	put(t, b, "1", `{"title":"Uno","y":2}`)
	require.NoError(t, a.Update(context.Background(), func(tx *replica.Tx) error { return tx.Delete(key("2")) }))
	put(t, b, "2", `{"edited":true}`)
	for range 2 {
		syncWith(t, a, net.Link("a", "hub"))
		syncWith(t, b, net.Link("b", "hub"))
	}
	requireEqual(t, hub, a, b)
	require.Equal(t, `{"edited":true}`, get(t, a, "2"))
}

func TestSyncResumes(t *testing.T) {
	net := network(t)
	hub, a := open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	link := net.Link("a", "hub")
	for i := range 50 {
		put(t, a, fmt.Sprint(i), `{"v":1}`)
	}
	require.Equal(t, 50, syncWith(t, a, link).ChangesSent)
	n := syncWith(t, a, link)
	require.Zero(t, n.ChangesSent)
	require.Zero(t, n.ChangesReceived)
	put(t, hub, "7", `{"v":2}`)
	n = syncWith(t, a, link)
	require.Zero(t, n.ChangesSent)
	require.Equal(t, 1, n.ChangesReceived)
	n = syncWith(t, a, link)
	require.Zero(t, n.ChangesSent, "what the hub sent is not sent back")
	st, err := a.Status(context.Background())
	require.NoError(t, err)
	require.Len(t, st.Peers, 1)
	require.Zero(t, st.Peers[0].Pending)
	requireEqual(t, hub, a)
}

func TestALargeSetSpansFramesAndStaysWhole(t *testing.T) {
	net := network(t)
	hub, a := open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	require.NoError(t, a.Update(context.Background(), func(tx *replica.Tx) error {
		for i := range 15 {
			text := strings.Repeat(fmt.Sprintf("%d and more, ", i), 40_000)
			if err := tx.Put(key(fmt.Sprint(i)), map[string]any{"text": text[:480_000]}); err != nil {
				return err
			}
		}
		return nil
	}))
	syncWith(t, a, net.Link("a", "hub"))
	requireEqual(t, hub, a)
}

func TestRestoredBackup(t *testing.T) {
	net := network(t)
	dir := t.TempDir()
	hub := open(t, nil)
	serve(t, net, "hub", hub)
	path, backup := filepath.Join(dir, "a.db"), filepath.Join(dir, "backup.db")
	a := openAt(t, path, nil)
	put(t, a, "1", `{"v":1}`)
	syncWith(t, a, net.Link("a", "hub"))
	require.NoError(t, a.Close())
	copyFile(t, path, backup)

	a = openAt(t, path, nil)
	put(t, a, "1", `{"v":2}`)
	put(t, a, "2", `{"v":1}`)
	syncWith(t, a, net.Link("a", "hub"))
	require.NoError(t, a.Close())

	restored := openAt(t, backup, nil)
	put(t, restored, "3", `{"v":1}`)
	put(t, restored, "1", `{"w":1}`)
	put(t, restored, "4", `{"v":1}`)
	syncWith(t, restored, net.Link("a", "hub"))
	requireEqual(t, hub, restored)
	require.Equal(t, `{"v":2,"w":1}`, get(t, restored, "1"))
}

func TestClonesSideBySide(t *testing.T) {
	net := network(t)
	dir := t.TempDir()
	hub := open(t, nil)
	serve(t, net, "hub", hub)
	path, clone := filepath.Join(dir, "a.db"), filepath.Join(dir, "clone.db")
	a := openAt(t, path, nil)
	put(t, a, "1", `{"v":1}`)
	syncWith(t, a, net.Link("a", "hub"))
	require.NoError(t, a.Close())
	copyFile(t, path, clone)
	a, b := openAt(t, path, nil), openAt(t, clone, nil)
	require.Equal(t, a.ID(), b.ID())
	for i := range 3 {
		put(t, a, "1", fmt.Sprintf(`{"a":%d}`, i))
		put(t, b, "1", fmt.Sprintf(`{"b":%d}`, i))
		syncWith(t, a, net.Link("a", "hub"))
		syncWith(t, b, net.Link("b", "hub"))
		syncWith(t, a, net.Link("a", "hub"))
		requireEqual(t, hub, a, b)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.Create(to)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())
}

func TestAnotherSpaceIsRefused(t *testing.T) {
	net := network(t)
	hub, a := open(t, &replica.Options{Space: "red"}), open(t, &replica.Options{Space: "blue"})
	serve(t, net, "hub", hub)
	put(t, hub, "1", `{"v":1}`)
	_, err := a.Sync(context.Background(), net.Link("a", "hub"))
	require.ErrorContains(t, err, "space")
	require.Empty(t, contents(t, a))

	b := open(t, nil)
	syncWith(t, b, net.Link("b", "hub"))
	st, err := b.Status(context.Background())
	require.NoError(t, err)
	require.Equal(t, "red", st.Space)
}

func TestLiveUpdatesReachAWatcher(t *testing.T) {
	net := network(t)
	hub, a, b := open(t, nil), open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	for name, r := range map[string]*replica.Replica{"a": a, "b": b} {
		c, err := r.Connect(net.Link(name, "hub"))
		require.NoError(t, err)
		defer c.Close()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	events := b.Watch(ctx, "notes")
	go func() {
		for i := range 20 {
			_ = a.Update(context.Background(), func(tx *replica.Tx) error {
				return tx.Put(key("live"), map[string]any{"n": int64(i)})
			})
		}
	}()
	n := 0
	var last crdt.LSN
	for ev, err := range events {
		require.NoError(t, err)
		require.Equal(t, key("live"), ev.Key)
		require.False(t, ev.Origin.Local)
		require.Equal(t, hub.ID(), ev.Origin.Peer)
		require.Greater(t, ev.LSN, last)
		last = ev.LSN
		if n++; n == 20 {
			require.Equal(t, `{"n":19}`, string(ev.Value))
			break
		}
	}
}

// rawPeer speaks the protocol by hand.
type rawPeer struct {
	t    *testing.T
	conn transport.Conn
	at   crdt.Cursor // of its own log
	lost bool        // its records: it reconciles as one that holds none

	epoch uint64 // of the replica that it speaks with
}

func dialRaw(t *testing.T, link transport.Link) *rawPeer {
	conn, err := link.Dial(context.Background())
	require.NoError(t, err)
	p := &rawPeer{t: t, conn: conn, at: crdt.Cursor{Epoch: 99}}
	t.Cleanup(func() { conn.Close() })
	return p
}

func (p *rawPeer) send(f transport.Frame) { require.NoError(p.t, p.conn.Send(context.Background(), f)) }

func (p *rawPeer) recv() transport.Frame {
	f, err := p.conn.Recv(context.Background())
	require.NoError(p.t, err)
	return f
}

func (p *rawPeer) shake() {
	hello := &transport.Hello{Protocol: transport.ProtocolVersion, Replica: crdt.ReplicaID{9}, Epoch: 99, Log: p.at, Want: transport.Everything()}
	if p.lost {
		hello.Knows = []string{"ranges"}
	}
	p.shakeAs(hello)
}

func (p *rawPeer) shakeAs(hello *transport.Hello) {
	p.send(hello)
	p.epoch = p.recv().(*transport.Hello).Epoch
	p.send(&transport.Ack{Through: crdt.Cursor{Epoch: p.epoch}})
	p.recv()
	p.send(&transport.Changes{From: p.at, Through: p.at})
	p.recv()
}

// push sends one set and returns the exceptions of its ack.
func (p *rawPeer) push(members ...transport.Member) []transport.Exception {
	to := p.at
	to.LSN += crdt.LSN(len(members))
	return p.pushTo(to, members...)
}

func (p *rawPeer) pushTo(to crdt.Cursor, members ...transport.Member) []transport.Exception {
	from := p.at
	p.at = to
	p.send(&transport.Changes{From: from, Through: p.at, Sets: []transport.Set{{Members: members}}})
	for {
		if ack, ok := p.recv().(*transport.Ack); ok {
			require.Equal(p.t, p.at, ack.Through)
			return ack.Exceptions
		}
	}
}

func member(id string, c *crdt.Change) transport.Member {
	return transport.Member{Collection: "notes", ID: id, Data: c.Raw()}
}

// authored returns n changes of one record, each on top of the one before.
func authored(t *testing.T, n int) (changes []*crdt.Change) {
	h := crdt.NewHistory()
	for i := range n {
		e := h.Begin("sixteen bytes!!!", int64(1e12)+int64(i), nil)
		require.NoError(t, e.Put(nil, map[string]any{"n": int64(i)}, crdt.Merge))
		c, err := e.Commit("")
		require.NoError(t, err)
		changes = append(changes, c)
	}
	return changes
}

func TestBadChangesGoIntoQuarantineAndTheSessionGoesOn(t *testing.T) {
	net := network(t)
	r := open(t, nil)
	serve(t, net, "r", r)
	p := dialRaw(t, net.Link("evil", "r"))
	p.shake()
	c := authored(t, 3)
	damaged := append([]byte(nil), c[0].Raw()...)
	damaged[len(damaged)-1] ^= 1

	x := p.push(transport.Member{Collection: "notes", ID: "1", Data: damaged})
	require.Len(t, x, 1)
	require.Equal(t, transport.Refused, x[0].State)

	x = p.push(transport.Member{Collection: "no/tes", ID: "1", Data: c[0].Raw()})
	require.Equal(t, "key", x[0].Code)

	x = p.push(member("1", c[0]), transport.Member{Collection: "notes", ID: "2", Data: damaged})
	require.Len(t, x, 1)
	_, err := r.Get(context.Background(), key("1"))
	require.ErrorIs(t, err, replica.ErrNotFound, "a set is applied whole or not at all")

	require.Empty(t, p.push(member("1", c[0])))
	require.Equal(t, `{"n":0}`, get(t, r, "1"))

	x = p.push(member("1", c[2]))
	require.Equal(t, transport.Parked, x[0].State)
	require.Empty(t, p.push(member("1", c[1])))
	require.Equal(t, `{"n":2}`, get(t, r, "1"), "what was parked follows its dependency")
	require.Empty(t, p.push(member("1", c[1]), member("1", c[2])), "applying twice is a no-op")

	st, err := r.Status(context.Background())
	require.NoError(t, err)
	require.Zero(t, st.Parked)
	require.EqualValues(t, 3, st.Quarantined)
	requireClean(t, r)
}

func TestForgedActorIsRefused(t *testing.T) {
	net := network(t)
	r := open(t, nil)
	serve(t, net, "r", r)
	put(t, r, "1", `{"a":1}`)
	h, err := r.History(context.Background(), key("1"))
	require.NoError(t, err)
	var own crdt.ActorID
	for c := range h.Changes() {
		own = c.Actor()
	}
	e := h.Begin(own, 1e12, nil)
	require.NoError(t, e.Put(nil, map[string]any{"a": int64(666)}, crdt.Merge))
	forged, err := e.Commit("")
	require.NoError(t, err)

	p := dialRaw(t, net.Link("evil", "r"))
	p.shake()
	x := p.push(member("1", forged))
	require.Equal(t, "forged", x[0].Code)
	put(t, r, "1", `{"a":2}`)
	require.Equal(t, `{"a":2}`, get(t, r, "1"))
	requireClean(t, r)
}

func TestNewerProtocolIsAClearError(t *testing.T) {
	net := network(t)
	r := open(t, nil)
	serve(t, net, "r", r)
	p := dialRaw(t, net.Link("future", "r"))
	p.send(&transport.Hello{Protocol: transport.ProtocolVersion + 1, Replica: crdt.ReplicaID{9}, Epoch: 99})
	p.recv()
	e := p.recv().(*transport.Error)
	require.Equal(t, transport.CodeProtocol, e.Code)
	require.Contains(t, e.Message, "version")
}

func TestFramesOutOfPlaceAreAskedForAgain(t *testing.T) {
	net := network(t)
	r := open(t, nil)
	serve(t, net, "r", r)
	p := dialRaw(t, net.Link("lossy", "r"))
	p.shake()
	c := authored(t, 1)
	ahead := crdt.Cursor{Epoch: 99, LSN: 7}
	p.send(&transport.Changes{From: ahead, Through: crdt.Cursor{Epoch: 99, LSN: 8}, Sets: []transport.Set{{Members: []transport.Member{member("1", c[0])}}}})
	for {
		if ack, ok := p.recv().(*transport.Ack); ok {
			require.True(t, ack.Resend)
			require.Equal(t, p.at, ack.Through)
			break
		}
	}
	require.Empty(t, p.push(member("1", c[0])))
	require.Equal(t, `{"n":0}`, get(t, r, "1"))
}

// A peer that lost its last changes to a restored backup goes on writing; its
// first session afterwards breaks off before they were sent back to it.
func TestWhatARestoredPeerLostIsSentBackInALaterSession(t *testing.T) {
	net := network(t)
	r := open(t, nil)
	serve(t, net, "r", r)
	c := authored(t, 2)
	before := dialRaw(t, net.Link("p", "r"))
	before.shake()
	require.Empty(t, before.push(member("lost", c[0]), member("lost", c[1])))
	require.NoError(t, before.conn.Close())

	after := dialRaw(t, net.Link("p", "r"))
	after.lost = true
	after.shake() // begins at its end: what was read is not in the restored log
	require.Empty(t, after.pushTo(crdt.Cursor{Epoch: 99, LSN: 1, Chain: crdt.Chain{1}}, member("other", c[0])))
	require.NoError(t, after.conn.Close())

	later := dialRaw(t, net.Link("p", "r"))
	later.at, later.lost = after.at, true
	later.shake()
	later.requireSent("lost")
}

// Two sessions with one peer: the one that is behind writes its cursor last.
func TestWhatARestoredPeerLostIsSentBackAfterTwoSessionsAtOnce(t *testing.T) {
	net := network(t)
	r := open(t, nil)
	serve(t, net, "r", r)
	c := authored(t, 1)
	ahead, behind := dialRaw(t, net.Link("p", "r")), dialRaw(t, net.Link("p", "r"))
	ahead.shake()
	behind.shake()
	require.Empty(t, ahead.push(member("kept", c[0])))
	require.Empty(t, ahead.push(member("lost", c[0])))
	require.Empty(t, behind.push(member("kept", c[0])))
	require.NoError(t, ahead.conn.Close())
	require.NoError(t, behind.conn.Close())

	restored := dialRaw(t, net.Link("p", "r"))
	restored.at, restored.lost = behind.at, true
	restored.shake()
	restored.requireSent("lost")
}

// requireSent waits until the record's change comes, or fails with the test.
func (p *rawPeer) requireSent(id string) {
	for {
		switch f := p.recv().(type) {
		case *transport.Digest:
			p.send(&transport.Digest{ID: f.ID, Answer: true, Ranges: []transport.Range{{}}})
		case *transport.Need:
			answer := &transport.Need{ID: f.ID, Answer: true}
			for _, h := range f.Haves {
				answer.Haves = append(answer.Haves, transport.Have{Key: h.Key, Place: replica.PlaceOf(h.Key)})
			}
			p.send(answer)
		case *transport.Changes:
			for _, set := range f.Sets {
				if set.Members[0].ID == id {
					return
				}
			}
			require.False(p.t, f.End, "not sent back: %s", id)
		}
	}
}

func TestRepeatedFramesDoNotEndTheHandshake(t *testing.T) {
	net := network(t)
	r := open(t, nil)
	serve(t, net, "r", r)
	p := dialRaw(t, net.Link("stutter", "r"))
	hello := &transport.Hello{Protocol: transport.ProtocolVersion, Replica: crdt.ReplicaID{9}, Epoch: 99, Log: crdt.Cursor{Epoch: 99}, Want: transport.Everything()}
	foreign := &transport.Ack{Through: crdt.Cursor{Epoch: 1, LSN: 1000}} // of a log that is no more
	p.send(hello)
	p.send(hello)
	p.recv()
	p.send(foreign)
	p.send(foreign)
	p.send(&transport.Changes{From: p.at, Through: p.at, End: true}) // overtook the frame before it
	p.send(&transport.Changes{From: p.at, Through: p.at})
	p.send(foreign)
	from := p.at
	p.at.LSN++
	p.send(&transport.Changes{From: from, Through: p.at, Sets: []transport.Set{{Members: []transport.Member{member("1", authored(t, 1)[0])}}}})
	for {
		if ack, ok := p.recv().(*transport.Ack); ok && ack.Through == p.at {
			break
		}
	}
	require.Equal(t, `{"n":0}`, get(t, r, "1"))
}

func TestALyingAckEndsTheSession(t *testing.T) {
	net := network(t)
	r := open(t, nil)
	serve(t, net, "r", r)
	put(t, r, "1", `{"a":1}`)
	p := dialRaw(t, net.Link("liar", "r"))
	p.shake()
	p.send(&transport.Ack{Through: crdt.Cursor{Epoch: 1, LSN: 1000}})
	for {
		f, err := p.conn.Recv(context.Background())
		require.NoError(t, err)
		if e, ok := f.(*transport.Error); ok {
			require.Equal(t, transport.CodeProtocol, e.Code)
			return
		}
	}
}

func TestAnUnreachablePeerShowsInStatus(t *testing.T) {
	net := network(t)
	hub, a := open(t, nil), open(t, nil)
	l, err := net.Listen("hub", func(ctx context.Context, c transport.Conn) error { return hub.Accept(ctx, c, transport.FullGrant()) })
	require.NoError(t, err)
	link := net.Link("a", "hub")
	syncWith(t, a, link)
	require.NoError(t, l.Close())
	put(t, a, "1", `{"v":1}`)
	for range 2 {
		_, err = a.Sync(context.Background(), link)
		require.Error(t, err)
	}
	st, err := a.Status(context.Background())
	require.NoError(t, err)
	require.Len(t, st.Peers, 1)
	p := st.Peers[0]
	require.Equal(t, link.String(), p.Link)
	require.Equal(t, 2, p.Attempts)
	require.NotEmpty(t, p.LastError)
	require.EqualValues(t, 1, p.Pending)
}
