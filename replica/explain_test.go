package replica_test

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

// explained is a replica, the record "x" of which is asked about, and a hub that it
// reaches by link.
type explained struct {
	net  *memlink.Network
	a, b *replica.Replica
	path string // of a's file
	link transport.Link
	opts []replica.LinkOption // for Explain
}

// Each reason is found, alone where it can be, and says what it is about.
func TestExplain(t *testing.T) {
	ctx := context.Background()
	cases := []struct {
		name   string
		make   func(t *testing.T, e *explained)
		synced bool
		codes  []string
		says   []string // regular expressions that the paragraph matches
	}{
		{"never here, and nobody known", func(t *testing.T, e *explained) {}, false,
			[]string{"absent", "alone"}, []string{`^notes/x was never here: .* No peer is known: `}},
		{"never here", func(t *testing.T, e *explained) {
			put(t, e.a, "other", `{"v":1}`)
			syncWith(t, e.a, e.link)
		}, false, []string{"absent", "offline"}, []string{`is not connected, and was seen last on 2`}},
		{"nobody known", func(t *testing.T, e *explained) { put(t, e.a, "x", `{"v":1}`) }, false,
			[]string{"here", "alone"}, []string{`^notes/x exists here, with 1 change, the last of 20`}},
		{"synced", func(t *testing.T, e *explained) {
			put(t, e.a, "x", `{"v":1}`)
			syncWith(t, e.a, e.link)
			put(t, e.a, "other", `{"v":1}`) // which is not
		}, true, []string{"here", "synced"}, []string{`Peer [0-9a-f]{16} \(.*hub.*\) has all of it, and was seen`}},
		{"what came from the peer", func(t *testing.T, e *explained) {
			put(t, e.b, "x", `{"v":1}`)
			syncWith(t, e.a, e.link, replica.PullOnly())
		}, true, []string{"here", "synced"}, nil},
		{"deleted", func(t *testing.T, e *explained) {
			put(t, e.a, "x", `{"v":1}`)
			syncWith(t, e.a, e.link)
			remove(t, e.a, "x")
			syncWith(t, e.a, e.link)
		}, true, []string{"deleted", "synced"}, []string{`is deleted here, with 2 changes`, `The deletion is a change`}},
		{"made and deleted before it was shown", func(t *testing.T, e *explained) {
			pass(t, e.a, "x")
			syncWith(t, e.a, e.link)
		}, true, []string{"unseen"}, []string{`is deleted here, with 3 changes.* Nothing of it is sent`}},
		{"not sent yet", func(t *testing.T, e *explained) {
			put(t, e.a, "x", `{"v":1}`)
			syncWith(t, e.a, e.link)
			put(t, e.a, "x", `{"v":2}`)
			put(t, e.a, "x", `{"v":3}`)
		}, false, []string{"here", "offline"}, []string{`has not acknowledged 2 changes of it\. It is not connected, and was seen last on .{19}\.$`}},
		{"a link that is down", func(t *testing.T, e *explained) {
			put(t, e.a, "other", `{"v":1}`)
			syncWith(t, e.a, e.link)
			put(t, e.a, "x", `{"v":1}`)
			_, err := e.a.Sync(ctx, down{e.link})
			require.Error(t, err)
			conn, err := e.a.Connect(down{e.link})
			require.NoError(t, err)
			require.Eventually(t, func() bool { return !conn.Status().Next.IsZero() }, time.Minute, time.Millisecond)
		}, false, []string{"here", "offline"}, []string{`; \d+ attempts? to reach it failed, the last error: .*the cable is out; the next attempt is on 2\d{3}-`}},
		{"a link that is down, from another process", func(t *testing.T, e *explained) {
			put(t, e.a, "x", `{"v":1}`)
			syncWith(t, e.a, e.link)
			put(t, e.a, "x", `{"v":2}`)
			_, err := e.a.Sync(ctx, down{e.link})
			require.Error(t, err)
		}, false, []string{"here", "offline"}, []string{`; 1 attempt to reach it failed, the last error: .*the cable is out\.$`}},
		{"refused", func(t *testing.T, e *explained) {
			admit(t, e.net, "strict", e.b, user("ann-"))
			put(t, e.a, "x", `{"v":1}`)
			require.Equal(t, 1, syncRefused(t, e.a, e.net.Link("a", "strict")))
		}, false, []string{"here", "refused"}, []string{`refused the change [0-9a-f]{64} on .*: rights: .* offered again when notes/x changes, or when`}},
		{"refused, and changed since", func(t *testing.T, e *explained) {
			admit(t, e.net, "strict", e.b, user("ann-"))
			put(t, e.a, "x", `{"v":1}`)
			require.Equal(t, 1, syncRefused(t, e.a, e.net.Link("a", "strict")))
			put(t, e.a, "x", `{"v":2}`)
		}, false, []string{"here", "refused"}, []string{`notes/x has changed since, so it is offered again`}},
		{"refused with another record", func(t *testing.T, e *explained) {
			admit(t, e.net, "strict", e.b, user("x"))
			require.NoError(t, e.a.Update(ctx, func(tx *replica.Tx) error {
				return errors.Join(tx.Put(key("x"), map[string]any{"v": int64(1)}), tx.Put(key("shared"), map[string]any{"v": int64(2)}))
			}))
			require.Equal(t, 1, syncRefused(t, e.a, e.net.Link("a", "strict")))
		}, false, []string{"here", "refused"}, []string{`refused the change set that it shares with notes/shared`}},
		{"outside of a selection", func(t *testing.T, e *explained) {
			put(t, e.a, "x", `{"v":1}`)
			_, err := e.a.Sync(ctx, e.link, replica.Only(notes("other")))
			require.NoError(t, err)
			e.opts = []replica.LinkOption{replica.Only(notes("other"))}
		}, false, []string{"here", "outside"}, []string{`is not sent it: the link carries a selection`}},
		{"outside of a live link's condition", func(t *testing.T, e *explained) {
			put(t, e.a, "x", `{"v":1}`)
			conn, err := e.a.Connect(e.link, replica.Only(where("v", "2")))
			require.NoError(t, err)
			require.Eventually(t, func() bool {
				st, err := e.a.Status(ctx)
				return err == nil && len(st.Peers) == 1 && conn.Status().Online
			}, time.Minute, time.Millisecond)
		}, false, []string{"here", "outside"}, []string{`or not as its fields are now`}},
		{"a link that only pulls", func(t *testing.T, e *explained) {
			put(t, e.a, "x", `{"v":1}`)
			syncWith(t, e.a, e.link, replica.PullOnly())
			e.opts = []replica.LinkOption{replica.PullOnly()}
		}, false, []string{"here", "outside"}, []string{`sends nothing in this direction`}},
		{"in conflict", func(t *testing.T, e *explained) {
			put(t, e.a, "x", `{"v":1}`)
			put(t, e.b, "x", `{"v":2}`)
			syncWith(t, e.a, e.link)
		}, true, []string{"here", "conflict", "synced"}, []string{`1 of its fields hold several values at once, which keeps nothing`}},
		{"a carrier", func(t *testing.T, e *explained) {
			put(t, e.a, "x", `{"v":1}`)
			atPeer(t, e, func(p *persist.Peer, head crdt.Cursor) { p.Carrier, p.Acked = true, head })
		}, false, []string{"here", "carrier"}, []string{`is a carrier and no replica`}},
		{"a peer from another life of the file", func(t *testing.T, e *explained) {
			put(t, e.a, "x", `{"v":1}`)
			atPeer(t, e, func(p *persist.Peer, head crdt.Cursor) { p.Acked = head; p.Acked.Chain[0]++ })
		}, false, []string{"here", "unplaced"}, []string{`is not known, since one of the two files was put back`}},
		{"something waits for it", func(t *testing.T, e *explained) {
			inFile(t, e, func(tx *persist.Tx) error {
				return tx.Park(&persist.ParkedSet{Waits: []crdt.Key{key("x")}, Reason: "the change ab is missing", Time: 1})
			})
		}, false, []string{"absent", "waiting", "alone"}, []string{`1 change set that came wait.* \(the change ab is missing\)`}},
		{"something of it was refused here", func(t *testing.T, e *explained) {
			inFile(t, e, func(tx *persist.Tx) error {
				return tx.Quarantine(&persist.Quarantined{Key: key("x"), Code: "encoding", Detail: "a column twice", Time: 1})
			})
		}, false, []string{"absent", "quarantined", "alone"}, []string{`This replica refused the change 0{64} of it on .*: encoding: a column twice\.`}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			net := network(t)
			e := &explained{net: net, path: filepath.Join(t.TempDir(), "a.db"), b: open(t, nil), link: net.Link("a", "hub")}
			e.a = openAt(t, e.path, nil)
			serve(t, net, "hub", e.b)
			c.make(t, e)
			got, err := e.a.Explain(ctx, key("x"), e.opts...)
			require.NoError(t, err)
			var codes []string
			for _, r := range got.Reasons {
				codes = append(codes, r.Code)
				require.Regexp(t, `^\S.*\.$`, r.Text)
			}
			require.Equal(t, c.codes, codes, got.String())
			require.Equal(t, c.synced, got.Synced)
			for _, says := range c.says {
				require.Regexp(t, regexp.MustCompile(says), got.String())
			}
		})
	}
}

// Both sides of a fork are told where it is repaired.
func TestExplainFork(t *testing.T) {
	net, a, b, _ := forked(t, true)
	meet(net, map[string]*replica.Replica{"a": a, "b": b})
	where := map[bool]int{}
	for _, r := range []*replica.Replica{a, b} {
		e, err := r.Explain(context.Background(), key("doc"))
		require.NoError(t, err)
		require.False(t, e.Synced)
		require.Contains(t, e.String(), "It is forked: actor ")
		where[regexp.MustCompile(`repaired here, with doctor`).MatchString(e.String())]++
	}
	require.Equal(t, map[bool]int{true: 1, false: 1}, where)
}

// A live link, on which nothing is missing.
func TestExplainLive(t *testing.T) {
	ctx := context.Background()
	net := network(t)
	a, b := open(t, nil), open(t, nil)
	serve(t, net, "hub", b)
	_, err := a.Connect(net.Link("a", "hub"))
	require.NoError(t, err)
	put(t, a, "x", `{"v":1}`)
	require.Eventually(t, func() bool {
		e, err := a.Explain(ctx, key("x"))
		require.NoError(t, err)
		return e.Synced
	}, time.Minute, 5*time.Millisecond)
	_, err = a.Explain(ctx, crdt.Key{})
	require.Error(t, err)
}

// down is a link that leads nowhere.
type down struct{ transport.Link }

func (down) Dial(context.Context) (transport.Conn, error) { return nil, errors.New("the cable is out") }

// inFile writes to a's file beside the replica.
func inFile(t testing.TB, e *explained, fn func(tx *persist.Tx) error) {
	t.Helper()
	s, err := persist.Open(context.Background(), e.path, nil)
	require.NoError(t, err)
	require.NoError(t, s.Commit(context.Background(), fn))
	require.NoError(t, s.Close())
}

func atPeer(t testing.TB, e *explained, set func(p *persist.Peer, head crdt.Cursor)) {
	t.Helper()
	inFile(t, e, func(tx *persist.Tx) error {
		p := &persist.Peer{Replica: crdt.ReplicaID{7}, Epoch: 1, Seen: 1}
		set(p, tx.Head())
		return tx.PutPeer(p)
	})
}
