package replica_test

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
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

// backlog writes n logs of about a kilobyte each, 100 in a change set.
func backlog(t testing.TB, r *replica.Replica, n int) {
	t.Helper()
	for from := 0; from < n; from += 100 {
		require.NoError(t, r.Update(t.Context(), func(tx *replica.Tx) error {
			for i := from; i < min(from+100, n); i++ {
				v := map[string]any{"text": strings.Repeat(fmt.Sprintf("%d went by, ", i), 75)}
				if err := tx.Put(crdt.Key{Collection: "logs", ID: fmt.Sprintf("%05d", i)}, v); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

// write puts records in one change set.
func write(t testing.TB, r *replica.Replica, v int, keys ...crdt.Key) {
	t.Helper()
	require.NoError(t, r.Update(context.Background(), func(tx *replica.Tx) error {
		for _, k := range keys {
			if err := tx.Put(k, map[string]any{"v": int64(v)}); err != nil {
				return err
			}
		}
		return nil
	}))
}

func order(id string) crdt.Key { return crdt.Key{Collection: "orders", ID: id} }

// arrivals returns the records of a replica's log, in the order in which they came.
func arrivals(t testing.TB, r *replica.Replica) (keys []crdt.Key) {
	t.Helper()
	head, err := r.Head(t.Context())
	require.NoError(t, err)
	for ev, err := range r.Watch(t.Context(), "", replica.From(replica.Position{})) {
		require.NoError(t, err)
		keys = append(keys, ev.Key)
		if ev.LSN == head.LSN {
			break
		}
	}
	return keys
}

// logsBefore returns how many logs came before a record did.
func logsBefore(t testing.TB, r *replica.Replica, k crdt.Key) (n int) {
	t.Helper()
	for _, came := range arrivals(t, r) {
		if came == k {
			return n
		}
		if came.Collection == "logs" {
			n++
		}
	}
	t.Fatalf("%s has not come", k)
	return 0
}

// meddled has a function see each frame that is dialled out, and drop it or break the line.
type meddled struct {
	transport.Link
	see func(transport.Frame) (pass bool, err error)
}

type meddledConn struct {
	transport.Conn
	see func(transport.Frame) (pass bool, err error)
}

func (l meddled) Dial(ctx context.Context) (transport.Conn, error) {
	c, err := l.Link.Dial(ctx)
	return meddledConn{c, l.see}, err
}

func (c meddledConn) Send(ctx context.Context, f transport.Frame) error {
	pass, err := c.see(f)
	if err != nil {
		_ = c.Close()
		return err
	}
	if !pass {
		return nil
	}
	return c.Conn.Send(ctx, f)
}

// isAhead reports whether the frame goes before its turn.
func isAhead(f transport.Frame) bool {
	c, ok := f.(*transport.Changes)
	return ok && c.Loose != 0 && c.Ahead != 0
}

const logs = 1500 // 1.4 MB

// An order behind a backlog of logs comes before half of them did, whichever side sends it.
func TestPriority(t *testing.T) {
	for name, test := range map[string]struct {
		pull bool
		opts []replica.LinkOption
		most int
	}{
		"push":    {false, []replica.LinkOption{replica.Priority("none", "orders"), replica.Only(transport.Scope{Only: []transport.Selector{{Collection: "logs"}, {Collection: "orders"}}})}, logs / 2},
		"pull":    {true, []replica.LinkOption{replica.Priority("orders")}, logs / 2},
		"without": {false, nil, logs},
	} {
		t.Run(name, func(t *testing.T) {
			net, hub, a := network(t), open(t, nil), open(t, nil)
			serve(t, net, "hub", hub)
			from, to := a, hub
			if test.pull {
				from, to = hub, a
			}
			syncWith(t, a, net.Link("a", "hub"))
			backlog(t, from, logs)
			write(t, from, 1, order("1"))
			write(t, from, 2, order("1"), order("2"))
			sum := syncWith(t, a, net.Link("a", "hub"), test.opts...)
			require.Equal(t, logs+3, sum.ChangesSent+sum.ChangesReceived, "nothing is sent twice")
			n := logsBefore(t, to, order("2"))
			t.Logf("%d logs came before", n)
			if test.most == logs {
				require.Equal(t, logs, n)
			} else {
				require.Less(t, n, test.most)
			}
			require.Len(t, arrivals(t, to), logs+3)
			sum = syncWith(t, a, net.Link("a", "hub"), test.opts...)
			require.Zero(t, sum.ChangesSent+sum.ChangesReceived)
			requireEqual(t, hub, a)
		})
	}
}

// Sets stay whole: one goes ahead with all it touches, or waits with a record that does.
func TestPriorityOfWholeSets(t *testing.T) {
	net, hub, a := network(t), open(t, nil), open(t, nil)
	backlog(t, a, logs)
	line, last := crdt.Key{Collection: "lines", ID: "1"}, crdt.Key{Collection: "logs", ID: fmt.Sprintf("%05d", logs-1)}
	write(t, a, 1, order("new"), line)
	write(t, a, 2, order("new"), line)
	write(t, a, 1, order("bound"), last) // stands on a log that waits
	write(t, a, 2, order("bound"))       // and this on that
	sets := 0                            // that went ahead
	link := meddled{net.Link("a", "hub"), func(f transport.Frame) (bool, error) {
		if isAhead(f) {
			sets += len(f.(*transport.Changes).Sets)
		}
		return unpacked(f)
	}}
	_, err := net.Listen("a", func(ctx context.Context, c transport.Conn) error {
		return a.Accept(ctx, meddledConn{c, link.see}, transport.FullGrant())
	})
	require.NoError(t, err)
	_, err = hub.Sync(t.Context(), meddled{net.Link("hub", "a"), unpacked}, replica.Priority("orders"))
	require.NoError(t, err)
	require.Equal(t, 2, sets)
	require.Less(t, logsBefore(t, hub, order("new")), logs/2)
	require.Less(t, logsBefore(t, hub, line), logs/2)
	require.GreaterOrEqual(t, logsBefore(t, hub, order("bound")), logs)
	requireEqual(t, hub, a)
}

// What is urgent and written while a backlog is sent goes ahead too.
func TestPriorityOfWhatComesMeanwhile(t *testing.T) {
	net, hub, a := network(t), open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	backlog(t, a, logs)
	frames := 0
	link := meddled{net.Link("a", "hub"), func(f transport.Frame) (bool, error) {
		if c, ok := f.(*transport.Changes); ok && c.From != c.Through {
			if frames++; frames == 2 {
				write(t, a, 1, order("late"))
			}
		}
		return true, nil
	}}
	_, err := a.Sync(t.Context(), link, replica.Priority("orders"))
	require.NoError(t, err)
	require.Less(t, logsBefore(t, hub, order("late")), logs)
	requireEqual(t, hub, a)
}

// A frame that went ahead and is lost is not left out in its turn, whether frames are
// packed, and so numbered, or plain.
func TestPriorityLost(t *testing.T) {
	for _, see := range []func(transport.Frame) (bool, error){unpacked, func(transport.Frame) (bool, error) { return true, nil }} {
		net, hub, a := network(t), open(t, nil), open(t, nil)
		backlog(t, a, logs)
		write(t, a, 1, order("1"))
		lost := false
		_, err := net.Listen("a", func(ctx context.Context, c transport.Conn) error {
			return a.Accept(ctx, meddledConn{c, func(f transport.Frame) (bool, error) {
				drop := isAhead(f) && !lost
				lost = lost || drop
				return !drop, nil
			}}, transport.FullGrant())
		})
		require.NoError(t, err)
		_, err = hub.Sync(t.Context(), meddled{net.Link("hub", "a"), see}, replica.Priority("orders"))
		require.NoError(t, err)
		require.True(t, lost)
		requireEqual(t, hub, a)
		require.Contains(t, arrivals(t, hub), order("1"))
	}
}

// unpacked has the side that dials not be sent packed frames.
func unpacked(f transport.Frame) (bool, error) {
	if hello, ok := f.(*transport.Hello); ok {
		hello.Knows = slices.DeleteFunc(hello.Knows, func(s string) bool { return s == transport.KnowsPack })
	}
	return true, nil
}

// cutBehind has a break off when what goes ahead is in the hub's file and nothing else is.
func cutBehind(t testing.TB, net *memlink.Network, a, hub *replica.Replica, k crdt.Key) {
	t.Helper()
	came := hub.WatchRecord(t.Context(), k)
	link := meddled{net.Link("a", "hub"), func(f transport.Frame) (bool, error) {
		if c, ok := f.(*transport.Changes); !ok || c.From == c.Through {
			return true, nil
		}
		for _, err := range came {
			require.NoError(t, err)
			break
		}
		return false, transport.ErrClosed
	}}
	_, err := a.Sync(t.Context(), link, replica.Priority(k.Collection))
	require.Error(t, err)
	net.CutNode("hub")
}

// A session that breaks off behind what went ahead is gone on with, and the comparison,
// for what the cursor does not count, does not ask for what is on its way. When all has
// come nothing is in doubt.
func TestPriorityCut(t *testing.T) {
	net, hub, a := network(t), open(t, nil), open(t, nil)
	compared, stood := 0, crdt.LSN(0)
	_, err := net.Listen("hub", func(ctx context.Context, c transport.Conn) error {
		return hub.Accept(ctx, meddledConn{c, func(f transport.Frame) (bool, error) {
			if d, ok := f.(*transport.Digest); ok && !d.Answer {
				head, err := hub.Head(t.Context())
				compared, stood = compared+1, head.LSN
				return true, err
			}
			return true, nil
		}}, transport.FullGrant())
	})
	require.NoError(t, err)
	backlog(t, a, logs)
	write(t, a, 1, order("1"))
	cutBehind(t, net, a, hub, order("1"))
	head, err := hub.Head(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, head.LSN)
	sum := syncWith(t, a, net.Link("a", "hub"), replica.Priority("orders"))
	require.Equal(t, logs+1, sum.ChangesSent)
	require.Equal(t, 1, compared)
	require.EqualValues(t, logs+1, stood, "all had come by then")
	requireEqual(t, hub, a)
	syncWith(t, a, net.Link("a", "hub"))
	require.Equal(t, 1, compared)
}

// What came ahead of its turn from a replica whose file was then put back, to where the
// cursor stands, is found by comparison.
func TestPriorityAndARestoredBackup(t *testing.T) {
	net, hub, dir := network(t), open(t, nil), t.TempDir()
	serve(t, net, "hub", hub)
	path, backup := filepath.Join(dir, "a.db"), filepath.Join(dir, "backup.db")
	a := openAt(t, path, nil)
	write(t, a, 1, order("0"))
	syncWith(t, a, net.Link("a", "hub"))
	require.NoError(t, a.Close())
	copyFile(t, path, backup)

	a = openAt(t, path, nil)
	backlog(t, a, logs)
	write(t, a, 1, order("1"))
	cutBehind(t, net, a, hub, order("1"))
	require.NoError(t, a.Close())

	restored := openAt(t, backup, nil)
	syncWith(t, restored, net.Link("a", "hub"))
	require.Contains(t, arrivals(t, restored), order("1"))
	requireEqual(t, hub, restored)
}

// A session that went through leaves nothing in doubt, so that the next one compares nothing.
func TestPriorityLeavesNoDoubt(t *testing.T) {
	net, hub, a := network(t), open(t, nil), open(t, nil)
	serve(t, net, "hub", hub)
	backlog(t, a, logs)
	write(t, a, 1, order("1"))
	ahead, compared := 0, 0
	link := meddled{net.Link("a", "hub"), func(f transport.Frame) (bool, error) {
		if isAhead(f) {
			ahead++
		}
		if _, is := f.(*transport.Digest); is {
			compared++
		}
		return true, nil
	}}
	for range 2 {
		_, err := a.Sync(t.Context(), link, replica.Priority("orders"))
		require.NoError(t, err)
	}
	require.Equal(t, 1, ahead)
	require.Zero(t, compared)
}

// In bad weather too everything comes, once, and is whole.
func TestPriorityInBadWeather(t *testing.T) {
	for seed := range uint64(2) {
		synctest.Test(t, func(t *testing.T) {
			t.Logf("seed %d", seed)
			net := memlink.New(seed)
			hub, a := open(t, nil), open(t, nil)
			t.Cleanup(func() { require.NoError(t, net.Close()) })
			serve(t, net, "hub", hub)
			backlog(t, a, 800)
			write(t, a, 1, order("1"), order("2"))
			backlog(t, hub, 10)
			write(t, a, 2, order("2"))
			net.SetFaults(memlink.Faults{Drop: 0.2, Duplicate: 0.2, Reorder: 0.2, Delay: 50 * time.Millisecond})
			c, err := a.Connect(net.Link("a", "hub"), replica.Priority("orders"))
			require.NoError(t, err)
			for i := range 20 {
				write(t, a, i, order(fmt.Sprint(i)))
				time.Sleep(time.Second)
			}
			time.Sleep(time.Minute)
			net.SetFaults(memlink.Faults{})
			time.Sleep(time.Minute)
			require.NoError(t, c.SyncNow(t.Context()))
			require.NoError(t, c.Close())
			syncWith(t, a, net.Link("a", "hub"))
			requireEqual(t, hub, a)
		})
	}
}

func TestPriorityOptions(t *testing.T) {
	net, a := network(t), open(t, nil)
	for want, opts := range map[string][]replica.LinkOption{
		"exclude each other": {replica.Priority("orders"), replica.OnDemand(), replica.MaxPerRun(10, 0)},
		"priority: ":         {replica.Priority("or/ders")},
		"at most 64":         {replica.Priority(make([]string, 65)...)},
	} {
		_, err := a.Connect(net.Link("a", "hub"), opts...)
		require.ErrorIs(t, err, replica.ErrSelector)
		require.ErrorContains(t, err, want)
	}
}

// A peer that lies about what went ahead gets its log asked for again, and no further.
func TestPriorityOfALiar(t *testing.T) {
	for _, reach := range []crdt.LSN{0, math.MaxInt64} {
		net, hub, a := network(t), open(t, nil), open(t, nil)
		serve(t, net, "hub", hub)
		write(t, a, 1, order("1"))
		link := meddled{net.Link("a", "hub"), func(f transport.Frame) (bool, error) {
			if c, ok := f.(*transport.Changes); ok && c.From != c.Through {
				c.Ahead, c.Reach = 7<<32|9, reach
			}
			return true, nil
		}}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := a.Sync(ctx, link)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		syncWith(t, a, net.Link("a", "hub"))
		requireEqual(t, hub, a)
	}
}
