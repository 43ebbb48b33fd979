package replica_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

// tap keeps the bytes of all frames that a replica sends to its peers.
type tap struct {
	mu    sync.Mutex // guards bytes
	bytes []byte
}

type tappedConn struct {
	transport.Conn
	tap   *tap
	codec *transport.Codec
}

func (c tappedConn) Send(ctx context.Context, f transport.Frame) error {
	message, err := c.codec.Encode(f)
	if err != nil {
		return err
	}
	if message[1] == 1 {
		unpack, err := zstd.NewReader(nil)
		if err != nil {
			return err
		}
		defer unpack.Close()
		if message, err = unpack.DecodeAll(message[2:], nil); err != nil {
			return err
		}
	}
	c.tap.mu.Lock()
	c.tap.bytes = append(c.tap.bytes, message...)
	c.tap.mu.Unlock()
	return c.Conn.Send(ctx, f)
}

func (p *tap) has(b []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Contains(p.bytes, b)
}

// admit lets others reach the replica under a name with the rights of grant, which
// may be changed between sessions.
func admit(t testing.TB, net *memlink.Network, name string, r *replica.Replica, grant *transport.Grant) *tap {
	t.Helper()
	p, codec := &tap{}, transport.NewCodec()
	_, err := net.Listen(name, func(ctx context.Context, c transport.Conn) error {
		return r.Accept(ctx, tappedConn{c, p, codec}, *grant)
	})
	require.NoError(t, err)
	return p
}

func notes(prefix string) transport.Scope {
	return transport.Scope{Only: []transport.Selector{{Collection: "notes", Prefix: prefix}}}
}

// user may read and write the notes with a prefix.
func user(prefix string) *transport.Grant {
	return &transport.Grant{Subject: prefix, Read: notes(prefix), Write: notes(prefix)}
}

func ids(t testing.TB, r *replica.Replica) (all []string) {
	t.Helper()
	for it, err := range r.List(context.Background(), "notes", 0) {
		require.NoError(t, err)
		all = append(all, it.Key.ID)
	}
	return all
}

func heads(t testing.TB, r *replica.Replica, id string) crdt.Heads {
	t.Helper()
	h, err := r.Heads(context.Background(), key(id))
	require.NoError(t, err)
	return h
}

// syncRefused syncs and returns how many changes the peer refused.
func syncRefused(t testing.TB, r *replica.Replica, link transport.Link, opts ...replica.LinkOption) int {
	t.Helper()
	n, err := r.Sync(context.Background(), link, opts...)
	var incomplete *replica.IncompleteError
	if n.Refused > 0 {
		require.ErrorAs(t, err, &incomplete)
		require.Contains(t, incomplete.First, "notes/")
	} else {
		require.NoError(t, err)
	}
	return n.Refused
}

func refusals(t testing.TB, r *replica.Replica) (all []string) {
	t.Helper()
	list, err := r.Refusals(context.Background())
	require.NoError(t, err)
	for _, f := range list {
		require.NotZero(t, f.Hash)
		all = append(all, f.Key.ID+": "+f.Code)
	}
	st, err := r.Status(context.Background())
	require.NoError(t, err)
	n := 0
	for _, p := range st.Peers {
		n += int(p.Refused)
	}
	require.Len(t, all, n)
	return all
}

// Two clients with disjoint rights share a hub: neither is sent a byte that names
// what the other holds, be it in a one-shot exchange or live.
func TestNobodySeesWhatItMayNotRead(t *testing.T) {
	net, ctx := network(t), context.Background()
	hub, ann, bob, admin := open(t, nil), open(t, nil), open(t, nil), open(t, nil)
	toAnn := admit(t, net, "for ann", hub, user("ann-"))
	toBob := admit(t, net, "for bob", hub, user("bob-"))
	full := transport.FullGrant()
	admit(t, net, "for admin", hub, &full)
	put(t, ann, "ann-1", `{"v":1}`)
	put(t, bob, "bob-1", `{"v":1}`)
	for range 2 {
		syncWith(t, ann, net.Link("ann", "for ann"))
		syncWith(t, bob, net.Link("bob", "for bob"))
	}
	require.Equal(t, []string{"ann-1", "bob-1"}, ids(t, hub))

	require.NoError(t, admin.Update(ctx, func(tx *replica.Tx) error { // one set over what both may read
		for _, id := range []string{"ann-2", "bob-2", "cid-2"} {
			if err := tx.Put(key(id), map[string]any{"by": "admin"}); err != nil {
				return err
			}
		}
		return nil
	}))
	require.NoError(t, admin.SetSpacePolicy(ctx, "notes", crdt.Policy{Default: crdt.ResolverLWW}, nil))
	require.NoError(t, admin.Tag(ctx, key("ann-2"), "draft", heads(t, admin, "ann-2")))
	require.NoError(t, admin.Tag(ctx, key("bob-2"), "final", heads(t, admin, "bob-2")))
	annLive, err := ann.Connect(net.Link("ann", "for ann"))
	require.NoError(t, err)
	syncWith(t, admin, net.Link("admin", "for admin"))
	syncWith(t, bob, net.Link("bob", "for bob"))
	require.Eventually(t, func() bool { return len(ids(t, ann)) == 2 }, wait, tick)
	put(t, bob, "bob-2", `{"v":3}`)
	syncWith(t, bob, net.Link("bob", "for bob"))
	require.NoError(t, annLive.Close())
	syncWith(t, ann, net.Link("ann", "for ann"))

	require.Equal(t, []string{"ann-1", "ann-2"}, ids(t, ann))
	require.Equal(t, []string{"bob-1", "bob-2"}, ids(t, bob))
	require.Equal(t, heads(t, hub, "bob-2"), heads(t, bob, "bob-2"))
	for _, r := range []*replica.Replica{ann, bob} {
		p, err := r.Policy(ctx, "notes")
		require.NoError(t, err)
		require.Equal(t, crdt.ResolverLWW, p.Default, "what godwit keeps in the space is for everybody")
		requireClean(t, r)
	}
	tags, err := ann.Tags(ctx, key("ann-2"))
	require.NoError(t, err)
	require.Len(t, tags, 1)

	for _, secret := range []struct {
		tap *tap
		of  string
	}{{toAnn, "bob-"}, {toBob, "ann-"}, {toAnn, "cid-"}, {toBob, "cid-"}, {toAnn, "final"}, {toBob, "draft"}} {
		require.False(t, secret.tap.has([]byte(secret.of)), secret.of)
	}
	for id, p := range map[string]*tap{"bob-1": toAnn, "bob-2": toAnn, "cid-2": toAnn, "ann-1": toBob, "ann-2": toBob} {
		for _, h := range heads(t, hub, id) {
			require.False(t, p.has(h[:]), id)
		}
	}
	require.True(t, toAnn.has([]byte("ann-2")), "the tap works")
	require.True(t, toAnn.has([]byte("draft")))
}

func TestReadOnlyAndWriteOnly(t *testing.T) {
	net := network(t)
	hub, reader, writer := open(t, nil), open(t, nil), open(t, nil)
	all := transport.Everything()
	admit(t, net, "reading", hub, &transport.Grant{Read: all})
	sent := admit(t, net, "writing", hub, &transport.Grant{Write: all})
	put(t, hub, "1", `{"v":1}`)
	put(t, reader, "mine", `{"v":1}`)
	put(t, writer, "drop", `{"v":1}`)
	require.Equal(t, 0, syncRefused(t, writer, net.Link("w", "writing")))
	require.Equal(t, 1, syncRefused(t, reader, net.Link("r", "reading")))
	require.Equal(t, []string{"1", "drop"}, ids(t, hub))
	require.Equal(t, []string{"1", "drop", "mine"}, ids(t, reader))
	require.Equal(t, []string{"drop"}, ids(t, writer))
	require.False(t, sent.has([]byte("notes")), "a write-only client is sent nothing")
	require.Equal(t, []string{"mine: rights"}, refusals(t, reader))
	held, err := hub.Held(context.Background())
	require.NoError(t, err)
	require.Empty(t, held, "nothing of what was refused is kept")
}

// A refused change is told, not sent again, and arrives when the rights allow it;
// what builds on it waits at the hub until then.
func TestRefusedThenGranted(t *testing.T) {
	net, ctx := network(t), context.Background()
	hub, ann := open(t, nil), open(t, nil)
	grant := user("ann-")
	admit(t, net, "hub", hub, grant)
	link := net.Link("ann", "hub")
	put(t, ann, "ann-1", `{"v":1}`)
	put(t, ann, "shared", `{"v":1}`)
	require.NoError(t, ann.Update(ctx, func(tx *replica.Tx) error { // refused as a whole
		return errors.Join(tx.Put(key("ann-2"), map[string]any{"v": int64(1)}), tx.Put(key("shared"), map[string]any{"v": int64(2)}))
	}))
	require.Equal(t, 2, syncRefused(t, ann, link))
	require.Equal(t, []string{"ann-1"}, ids(t, hub))
	require.Equal(t, []string{"shared: rights", "shared: rights"}, refusals(t, ann))

	n, err := ann.Sync(ctx, link)
	require.Error(t, err, "the sides are not equal")
	require.Zero(t, n.ChangesSent, "it is not resent")
	require.Equal(t, 2, n.Refused)
	put(t, ann, "ann-1", `{"v":2}`)
	n, err = ann.Sync(ctx, link)
	require.Error(t, err)
	require.Equal(t, 1, n.ChangesSent)

	grant.Write = notes("")
	require.Equal(t, 0, syncRefused(t, ann, link))
	requireEqual(t, hub, ann)
	require.Empty(t, refusals(t, ann))
	require.Zero(t, syncWith(t, ann, link).ChangesSent)
}

// Rights that are revoked hold from the next session on: nothing more is sent, nothing
// more is taken, what is there stays.
func TestRightsRevoked(t *testing.T) {
	net := network(t)
	hub, ann := open(t, nil), open(t, nil)
	grant := &transport.Grant{Read: notes(""), Write: notes("")}
	admit(t, net, "hub", hub, grant)
	link := net.Link("ann", "hub")
	put(t, hub, "1", `{"v":1}`)
	put(t, ann, "2", `{"v":1}`)
	syncWith(t, ann, link)
	requireEqual(t, hub, ann)

	grant.Read, grant.Write = notes("2"), notes("2")
	put(t, hub, "1", `{"v":2}`)
	put(t, hub, "2", `{"w":1}`)
	put(t, ann, "1", `{"w":2}`)
	put(t, ann, "2", `{"v":2}`)
	require.Equal(t, 1, syncRefused(t, ann, link))
	require.Equal(t, `{"v":1,"w":2}`, get(t, ann, "1"))
	require.Equal(t, `{"v":2}`, get(t, hub, "1"))
	require.Equal(t, `{"v":2,"w":1}`, get(t, ann, "2"))
	require.Equal(t, `{"v":2,"w":1}`, get(t, hub, "2"))
	require.Equal(t, []string{"1: rights"}, refusals(t, ann))

	grant.Read, grant.Write = transport.Scope{}, transport.Scope{}
	put(t, ann, "2", `{"v":3}`)
	require.Equal(t, 2, syncRefused(t, ann, link))
	require.Equal(t, `{"v":2,"w":1}`, get(t, hub, "2"))

	*grant = transport.FullGrant()
	require.Equal(t, 0, syncRefused(t, ann, link))
	requireEqual(t, hub, ann)
	require.Empty(t, refusals(t, ann))
}

// Whoever may not relay brings its own changes only; what the hub holds anyway is
// no offence.
func TestRelay(t *testing.T) {
	net := network(t)
	one, two, ann, bob := open(t, nil), open(t, nil), open(t, nil), open(t, nil)
	grant := &transport.Grant{Read: notes(""), Write: notes("")}
	for name, hub := range map[string]*replica.Replica{"one": one, "two": two} {
		admit(t, net, name, hub, grant)
	}
	put(t, bob, "b", `{"v":1}`)
	syncWith(t, bob, net.Link("bob", "one"))
	put(t, ann, "a", `{"v":1}`)
	syncWith(t, ann, net.Link("ann", "one"))
	require.Equal(t, []string{"a", "b"}, ids(t, ann))
	require.Equal(t, 1, syncRefused(t, ann, net.Link("ann", "two")), "bob's change is not ann's to bring")
	require.Equal(t, []string{"a"}, ids(t, two))

	grant.Relay = true
	require.Equal(t, 0, syncRefused(t, ann, net.Link("ann", "two")))
	requireEqual(t, one, two)
	grant.Relay = false
	put(t, ann, "a", `{"v":2}`)
	require.Equal(t, 0, syncRefused(t, ann, net.Link("ann", "two")), "bob's is held already")
}

// A replica belongs to the subject that it was first known as, in all its lives.
func TestAReplicaHasOneSubject(t *testing.T) {
	net := network(t)
	hub := open(t, nil)
	ann, eve := user("ann-"), user("eve-")
	admit(t, net, "for ann", hub, ann)
	admit(t, net, "for eve", hub, eve)
	p := dialRaw(t, net.Link("ann", "for ann"))
	p.shake()
	require.NoError(t, p.conn.Close())

	claim := hello()
	claim.Replica = crdt.ReplicaID{9} // ann's
	p = dialRaw(t, net.Link("eve", "for eve"))
	p.send(claim)
	p.recv()
	e := p.refusal()
	require.Equal(t, transport.CodeAuth, e.Code)
	require.Contains(t, e.Message, "another subject")

	eve.Relay = true // may bring ann's changes anyway
	p = dialRaw(t, net.Link("eve", "for eve"))
	p.send(claim)
	p.recv()
	require.IsType(t, &transport.Ack{}, p.recv())
}
