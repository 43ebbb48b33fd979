package replica_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/bundle"
	"github.com/godwitdb/godwit/transport/memlink"
)

const passing = "made-and-deleted" // the id that is looked for

// tapped is a link of which all that is sent and received is written down, unpacked.
type tapped struct {
	transport.Link
	mu     sync.Mutex
	sent   int // change sets
	frames int
	bytes  bytes.Buffer
}

func (l *tapped) Dial(ctx context.Context) (transport.Conn, error) {
	c, err := l.Link.Dial(ctx)
	return &wiretap{Conn: c, l: l}, err
}

type wiretap struct {
	transport.Conn
	l       *tapped
	out, in transport.Unpacker
}

func (c *wiretap) Send(ctx context.Context, f transport.Frame) error {
	c.l.mu.Lock()
	c.l.frames++
	c.l.sent += c.l.note(&c.out, f)
	c.l.mu.Unlock()
	return c.Conn.Send(ctx, f)
}

func (c *wiretap) Recv(ctx context.Context) (transport.Frame, error) {
	f, err := c.Conn.Recv(ctx)
	if err == nil {
		c.l.mu.Lock()
		c.l.note(&c.in, f)
		c.l.mu.Unlock()
	}
	return f, err
}

// note writes a frame down and counts its change sets. What cannot be unpacked here counts
// as one: it names changes that were sent before.
func (l *tapped) note(u *transport.Unpacker, f transport.Frame) (sets int) {
	c, ok := f.(*transport.Changes)
	if ok && c.Packed != nil {
		plain, err := u.Unpack(c, func(crdt.Key, []byte) (crdt.Hash, bool) { return crdt.Hash{}, false })
		if err != nil {
			return 1
		}
		c = plain
	}
	if c != nil {
		sets, f = len(c.Sets), c
	}
	fmt.Fprintf(&l.bytes, "%+v\n", f)
	return sets
}

// silent holds that no change went out, and that the id was not named.
func (l *tapped) silent(t testing.TB) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.NotZero(t, l.frames)
	require.Zero(t, l.sent)
	require.NotContains(t, l.bytes.String(), passing)
}

func remove(t testing.TB, r *replica.Replica, ids ...string) {
	t.Helper()
	require.NoError(t, r.Update(context.Background(), func(tx *replica.Tx) error {
		for _, id := range ids {
			if err := tx.Delete(key(id)); err != nil {
				return err
			}
		}
		return nil
	}))
}

// pass makes a record and deletes it again.
func pass(t testing.TB, r *replica.Replica, id string) {
	t.Helper()
	put(t, r, id, `{"title":"Tides"}`)
	put(t, r, id, `{"title":"Ebb"}`)
	remove(t, r, id)
}

// knows reports whether the replica ever heard of the record.
func knows(t testing.TB, r *replica.Replica, id string) bool {
	t.Helper()
	heads, err := r.Heads(context.Background(), key(id))
	if err != nil {
		require.ErrorIs(t, err, replica.ErrNotFound)
	}
	return len(heads) > 0
}

// requireGone holds that the replicas compare as equal, have heard of the record, and have
// it deleted.
func requireGone(t *testing.T, id string, link transport.Link, from *replica.Replica, all ...*replica.Replica) {
	t.Helper()
	requireVerified(t, from, link)
	for i, r := range append(all, from) {
		require.True(t, knows(t, r, id), "replica %d has not heard of it", i)
		require.False(t, has(t, r, id), "replica %d has it", i)
		requireClean(t, r)
	}
	requireEqual(t, append(all, from)...)
}

func requireVerified(t testing.TB, r *replica.Replica, link transport.Link) {
	t.Helper()
	v, err := r.Verify(context.Background(), link, nil)
	require.NoError(t, err)
	require.Zero(t, v.Differing, "%+v", v.Differences)
}

func outboxOf(t testing.TB, r *replica.Replica, id string) (n int) {
	t.Helper()
	for _, err := range r.Outbox(context.Background(), replica.OutboxFilter{Collection: "notes", ID: id}) {
		require.NoError(t, err)
		n++
	}
	return n
}

// The story: what was made and deleted before anybody was shown it leaves no trace elsewhere.
func TestWhatNobodyWasShownIsNotSent(t *testing.T) {
	for name, o := range map[string]*replica.Options{
		"plain":     nil,
		"encrypted": {Key: fileKey(t, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			net, hub, a := network(t), open(t, nil), open(t, o)
			serve(t, net, "hub", hub)
			link := &tapped{Link: net.Link("a", "hub")}
			pass(t, a, passing)
			require.Zero(t, outboxOf(t, a, passing))
			n := syncWith(t, a, link)
			require.Zero(t, n.ChangesSent)
			requireVerified(t, a, link)
			link.silent(t)
			require.False(t, knows(t, hub, passing))
			requireClean(t, a)

			e, err := a.Explain(ctx, key(passing))
			require.NoError(t, err)
			require.True(t, e.Synced)
			require.Equal(t, replica.ReasonUnseen, e.Reasons[0].Code)
			require.Regexp(t, `is deleted here, with 3 changes.* Nothing of it is sent`, e.String())
			for c, err := range a.Receipts(ctx, key(passing)) {
				require.NoError(t, err)
				require.Empty(t, c.Peers)
				require.True(t, c.Origin.Local)
			}

			// So it goes on between sessions, beside what is sent.
			pass(t, a, passing+" too")
			put(t, a, "kept", `{"n":1}`)
			require.EqualValues(t, 1, status(t, a).Peers[0].Pending)
			require.Equal(t, 1, syncWith(t, a, link).ChangesSent)
			require.False(t, knows(t, hub, passing+" too"))
			requireVerified(t, a, link)
			require.NotContains(t, link.bytes.String(), passing)
			require.Contains(t, link.bytes.String(), "kept")
		})
	}
}

// What somebody may have been shown is deleted there too.
func TestWhatSomebodyWasShownIsSent(t *testing.T) {
	type world struct {
		net    *memlink.Network
		hub, a *replica.Replica
	}
	for name, before := range map[string]func(t *testing.T, w *world){
		"a session": func(t *testing.T, w *world) {
			put(t, w.a, passing, `{"n":1}`)
			syncWith(t, w.a, w.net.Link("a", "hub"))
		},
		"a session that does not carry it": func(t *testing.T, w *world) {
			put(t, w.a, passing, `{"n":1}`)
			syncWith(t, w.a, w.net.Link("a", "hub"), replica.PullOnly())
		},
		"a peer's change": func(t *testing.T, w *world) {
			put(t, w.hub, passing, `{"n":1}`)
			syncWith(t, w.a, w.net.Link("a", "hub"))
		},
		"a bundle": func(t *testing.T, w *world) {
			put(t, w.a, passing, `{"n":1}`)
			file, _ := writeBundle(t, w.a, nil)
			_, err := applyBundle(t, w.hub, file)
			require.NoError(t, err)
		},
		"a backup": func(t *testing.T, w *world) {
			put(t, w.a, passing, `{"n":1}`)
			saved := filepath.Join(t.TempDir(), "saved.db")
			require.NoError(t, w.a.Backup(context.Background(), saved, nil))
			b := openAt(t, saved, nil)
			syncWith(t, b, w.net.Link("b", "hub"))
		},
		"a set with what stays": func(t *testing.T, w *world) {
			require.NoError(t, w.a.Update(context.Background(), func(tx *replica.Tx) error {
				return tx.Put(key("stays"), map[string]any{"n": 1})
			}))
			require.NoError(t, w.a.Update(context.Background(), func(tx *replica.Tx) error {
				if err := tx.Put(key(passing), map[string]any{"n": 1}); err != nil {
					return err
				}
				return tx.Put(key("stays"), map[string]any{"n": 2})
			}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{net: network(t), hub: open(t, nil), a: open(t, nil)}
			serve(t, w.net, "hub", w.hub)
			before(t, w)
			remove(t, w.a, passing)
			require.Equal(t, 1, min(1, outboxOf(t, w.a, passing)))
			syncWith(t, w.a, w.net.Link("a", "hub"))
			requireGone(t, passing, w.net.Link("a", "hub"), w.a, w.hub)
		})
	}
}

// Sets bind records: those of which all are deleted are left out together, whichever way
// they went.
func TestRecordsOfOneSetAreLeftOutTogether(t *testing.T) {
	net, hub, a := network(t), open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	both := func(ids ...string) {
		require.NoError(t, a.Update(context.Background(), func(tx *replica.Tx) error {
			for _, id := range ids {
				if err := tx.Put(key(passing+id), map[string]any{"n": len(ids)}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	both("1", "2")
	both("2", "3")
	remove(t, a, passing+"1")
	remove(t, a, passing+"3")
	require.NotZero(t, outboxOf(t, a, passing+"1"), "it is in a set with one that stays")
	remove(t, a, passing+"2")
	for i := range 3 {
		require.Zero(t, outboxOf(t, a, fmt.Sprint(passing, i+1)))
	}
	both("4", "5", "6")
	remove(t, a, passing+"6", passing+"5", passing+"4")
	link := &tapped{Link: net.Link("a", "hub")}
	syncWith(t, a, link)
	requireVerified(t, a, link)
	link.silent(t)

	both("7", "8", "9") // two that go at once, and one that stays
	remove(t, a, passing+"7", passing+"8")
	syncWith(t, a, link)
	for _, id := range []string{"7", "8", "9"} {
		require.True(t, knows(t, hub, passing+id))
	}
	requireVerified(t, a, link)
	requireEqual(t, a, hub)
}

// While a session goes on everything counts as shown, whichever process holds it, and also
// when nobody wrote down its end.
func TestWhileASessionGoesOnDeletionsAreSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		c := d.connect(t)
		pass(t, d.laptop, "live")
		synctest.Wait()
		require.True(t, knows(t, d.hub, "live"))
		require.False(t, has(t, d.hub, "live"))
		require.NoError(t, c.Close())
		pass(t, d.laptop, passing)
		d.connect(t)
		time.Sleep(time.Minute)
		require.False(t, knows(t, d.hub, passing))
		requireVerified(t, d.laptop, d.link())
		requireEqual(t, d.laptop, d.hub)
	})
}

// A process that dies in a session leaves it open for its file: what its peer was sent is
// not known.
func TestAfterACrashDeletionsAreSent(t *testing.T) {
	dir := t.TempDir()
	net, hub := network(t), open(t, nil)
	serve(t, net, "hub", hub)
	a := openAt(t, filepath.Join(dir, "a.db"), nil)
	c, err := a.Connect(net.Link("a", "hub"))
	require.NoError(t, err)
	put(t, a, passing, `{"n":1}`)
	require.NoError(t, c.SyncNow(context.Background()))
	for _, part := range []string{"", "-wal"} { // as the crash leaves it
		copyFile(t, filepath.Join(dir, "a.db"+part), filepath.Join(dir, "crashed.db"+part))
	}
	require.NoError(t, c.Close())
	b := openAt(t, filepath.Join(dir, "crashed.db"), nil)
	remove(t, b, passing)
	pass(t, b, "since")
	require.NotZero(t, outboxOf(t, b, passing))
	syncWith(t, b, net.Link("b", "hub"))
	requireGone(t, passing, net.Link("b", "hub"), b, hub)
	requireGone(t, "since", net.Link("b", "hub"), b, hub)
	pass(t, b, "then")
	syncWith(t, b, net.Link("b", "hub"))
	require.False(t, knows(t, hub, "then"), "that session has ended")
}

// The end of a session in one process does not hide that one goes on in another; if
// something was hidden for all that, it comes out at once.
func TestASessionOfAnotherProcessIsNoticed(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "a.db")
	net, hub := network(t), open(t, nil)
	serve(t, net, "hub", hub)
	live, other := openAt(t, path, nil), openAt(t, path, nil)
	c, err := live.Connect(net.Link("a", "hub"))
	require.NoError(t, err)
	require.NoError(t, c.SyncNow(ctx))
	syncWith(t, other, net.Link("a", "hub"))
	put(t, other, passing, `{"n":1}`)
	require.Eventually(t, func() bool { return has(t, hub, passing) }, 20*time.Second, time.Millisecond)
	remove(t, other, passing)
	require.Eventually(t, func() bool { return !has(t, hub, passing) }, 20*time.Second, time.Millisecond)
	require.NoError(t, c.Close())
	requireGone(t, passing, net.Link("a", "hub"), live, hub)
}

// A file that was copied knows nothing of what the copy has shown. Whoever has heard of the
// record gives it back, and is told that it is deleted, as are all who have read on since.
func TestAClonesPeersLearnOfTheDeletion(t *testing.T) {
	for name, meet := range map[string]func(t *testing.T, net *memlink.Network, a *replica.Replica, third *replica.Replica){
		"where the clone was": func(t *testing.T, net *memlink.Network, a, third *replica.Replica) {
			syncWith(t, a, net.Link("a", "hub"))
		},
		"through another": func(t *testing.T, net *memlink.Network, a, third *replica.Replica) {
			syncWith(t, third, net.Link("third", "hub"))
			syncWith(t, a, net.Link("a", "third"))
			syncWith(t, third, net.Link("third", "hub"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			net, hub, third, fourth := network(t), open(t, nil), open(t, nil), open(t, nil)
			for name, r := range map[string]*replica.Replica{"hub": hub, "third": third, "fourth": fourth} {
				serve(t, net, name, r)
			}
			a, err := replica.Open(context.Background(), filepath.Join(dir, "a.db"), nil)
			require.NoError(t, err)
			put(t, a, "other", `{"n":1}`)
			put(t, a, passing, `{"n":1}`)
			require.NoError(t, a.Close())
			copyFile(t, filepath.Join(dir, "a.db"), filepath.Join(dir, "clone.db"))
			clone := openAt(t, filepath.Join(dir, "clone.db"), nil)
			a = openAt(t, filepath.Join(dir, "a.db"), nil)
			put(t, a, passing, `{"n":2}`)
			remove(t, a, passing)
			syncWith(t, a, net.Link("a", "fourth"))
			require.False(t, knows(t, fourth, passing))

			syncWith(t, clone, net.Link("clone", "hub"))
			require.True(t, has(t, hub, passing))
			meet(t, net, a, third)
			require.Equal(t, 3, outboxOf(t, a, passing), "for the fourth")
			requireGone(t, passing, net.Link("a", "hub"), a, hub)
			require.Positive(t, syncWith(t, a, net.Link("a", "fourth")).ChangesSent)
			syncWith(t, third, net.Link("third", "hub"))
			syncWith(t, clone, net.Link("clone", "hub"))
			requireGone(t, passing, net.Link("a", "hub"), a, hub, third, fourth, clone)
		})
	}
}

// A record that comes back under its name brings its past along: its sequence numbers are
// not given out again.
func TestAHiddenRecordIsMadeAgain(t *testing.T) {
	ctx := context.Background()
	net, hub, a := network(t), open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	link := net.Link("a", "hub")
	pass(t, a, passing)
	syncWith(t, a, link)
	require.ErrorIs(t, a.Update(ctx, func(tx *replica.Tx) error {
		if err := tx.Put(key(passing), map[string]any{"n": 1}); err != nil {
			return err
		}
		return context.Canceled
	}), context.Canceled)
	require.Zero(t, outboxOf(t, a, passing))
	pass(t, a, passing)
	require.Zero(t, syncWith(t, a, link).ChangesSent, "it is hidden again")
	put(t, a, passing, `{"title":"Flood"}`)
	require.Equal(t, 7, outboxOf(t, a, passing), "all it ever was")
	require.Equal(t, 7, syncWith(t, a, link).ChangesSent)
	require.JSONEq(t, `{"title":"Flood"}`, get(t, hub, passing))
	requireVerified(t, a, link)
	requireEqual(t, a, hub)
	remove(t, a, passing)
	require.Equal(t, 1, syncWith(t, a, link).ChangesSent)
	requireGone(t, passing, link, a, hub)
}

// A change set that writes a hidden record again, behind another one, stays in one piece in
// the log: the record's earlier changes come before the set.
func TestAHiddenRecordIsMadeAgainWithinASet(t *testing.T) {
	r := open(t, nil)
	pass(t, r, passing)
	require.NoError(t, r.Update(t.Context(), func(tx *replica.Tx) error {
		for _, id := range []string{"first", passing, "last"} {
			if err := tx.Put(key(id), map[string]any{"title": "Flood"}); err != nil {
				return err
			}
		}
		return nil
	}))
	require.True(t, has(t, r, passing))
	requireClean(t, r)
}

// A bundle leaves out what nobody was shown, and a compacted record is no exception.
func TestABundleOfWhatNobodyWasShown(t *testing.T) {
	a := open(t, &replica.Options{Space: "crew"})
	for i := range 100 {
		put(t, a, passing, fmt.Sprintf(`{"text":%q}`, strings.Repeat(fmt.Sprint(i), 500)))
	}
	_, err := a.Compact(context.Background(), &replica.CompactOptions{Key: key(passing)}, nil)
	require.NoError(t, err)
	remove(t, a, passing)
	put(t, a, "kept", `{"n":1}`)
	file, info := writeBundle(t, a, nil)
	require.Equal(t, 1, info.Sets)
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NotContains(t, string(b), passing)
	to := open(t, nil)
	n, err := to.Sync(context.Background(), bundle.Link(file, nil), replica.PullOnly())
	require.NoError(t, err)
	require.Equal(t, 1, n.ChangesReceived)
	require.False(t, knows(t, to, passing))
	put(t, a, passing, `{"n":1}`)
	_, info = writeBundle(t, a, &info)
	require.Equal(t, 102, info.Sets)
	requireClean(t, a)
}

// Check notices what is kept from peers and not deleted.
func TestCheckFindsAHiddenRecordThatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	a := openAt(t, path, nil)
	put(t, a, "x", `{"n":1}`)
	db, err := sql.Open("sqlite3", path)
	require.NoError(t, err)
	_, err = db.Exec("INSERT INTO unseen SELECT rid FROM records")
	require.NoError(t, errors.Join(err, db.Close()))
	var found []string
	require.NoError(t, a.Check(context.Background(), func(p replica.Problem) { found = append(found, p.Kind+" "+p.Key.String()) }))
	require.Equal(t, []string{"unseen notes/x"}, found)
}

// The rows that a process holds in memory, because somebody watches, do not say that their
// record was hidden since, here or by another process.
func TestHiddenRowsAreNotSentFromMemory(t *testing.T) {
	for name, another := range map[string]bool{"the process that hides": false, "another process": true} {
		t.Run(name, func(t *testing.T) {
			ctx, path := watching(t), filepath.Join(t.TempDir(), "a.db")
			net, hub, a := network(t), open(t, nil), openAt(t, path, nil)
			serve(t, net, "hub", hub)
			writes := a
			if another {
				writes = openAt(t, path, nil)
			}
			w := read(t, a.Watch(ctx, "notes"))
			put(t, writes, "first", `{"n":1}`)
			require.Equal(t, "first", w.one().Key.ID)
			syncWith(t, a, net.Link("a", "hub")) // the next one goes on where rows are held
			put(t, writes, passing, `{"n":1}`)
			require.False(t, w.one().Deleted)
			remove(t, writes, passing)
			require.True(t, w.one().Deleted)
			link := &tapped{Link: net.Link("a", "hub")}
			syncWith(t, a, link)
			requireVerified(t, a, link)
			link.silent(t)
		})
	}
}

// A peer that hangs up in the handshake leaves no session open in the file.
func TestAHandshakeThatFailsLeavesNoSessionOpen(t *testing.T) {
	ctx := context.Background()
	net, a := network(t), open(t, nil)
	var known replica.PeerStatus // the hub, whose part another one plays
	_, err := net.Listen("odd", func(ctx context.Context, c transport.Conn) error {
		_, first := c.Recv(ctx) // its hello
		hello := hello()
		hello.Replica, hello.Epoch = known.Replica, known.Epoch
		err := c.Send(ctx, hello)
		_, second := c.Recv(ctx) // it has met us
		return errors.Join(first, err, second, c.Send(ctx, &transport.Error{Code: transport.CodeAuth, Message: "not you"}))
	})
	require.NoError(t, err)
	hub := open(t, nil)
	serve(t, net, "hub", hub)
	put(t, a, "shown", `{"n":1}`)
	syncWith(t, a, net.Link("a", "hub"))
	known = status(t, a).Peers[0]
	_, err = a.Sync(ctx, net.Link("a", "odd"))
	require.ErrorContains(t, err, "not you")
	st, err := a.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, replica.StateDisconnected, st.Peers[0].State)
	require.Contains(t, st.Peers[0].LastError, "not you")
	require.Equal(t, known.Acked, st.Peers[0].Acked)
	require.NotZero(t, known.Acked.LSN)
	remove(t, a, "shown")
	require.NotZero(t, outboxOf(t, a, "shown"), "nobody knows what it was shown")
	pass(t, a, passing)
	require.Zero(t, outboxOf(t, a, passing))
}
