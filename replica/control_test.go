package replica_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

// desk is a laptop and a hub, for tests in a bubble.
type desk struct {
	net         *memlink.Network
	laptop, hub *replica.Replica
	sessions    atomic.Int64 // that the hub has accepted
}

func newDesk(t *testing.T, o *replica.Options) *desk {
	d := &desk{net: network(t), hub: open(t, nil), laptop: open(t, o)}
	_, err := d.net.Listen("hub", func(ctx context.Context, c transport.Conn) error {
		d.sessions.Add(1)
		return d.hub.Accept(ctx, c, transport.FullGrant())
	})
	require.NoError(t, err)
	return d
}

func (d *desk) link() transport.Link { return d.net.Link("laptop", "hub") }

func (d *desk) connect(t *testing.T, opts ...replica.LinkOption) *replica.Connection {
	c, err := d.laptop.Connect(d.link(), opts...)
	require.NoError(t, err)
	synctest.Wait()
	return c
}

// has reports whether the record is there.
func has(t *testing.T, r *replica.Replica, id string) bool {
	_, err := r.Get(context.Background(), key(id))
	if errors.Is(err, replica.ErrNotFound) {
		return false
	}
	require.NoError(t, err)
	return true
}

// The story: a laptop is closed for a week. When the path returns, what was written on
// both sides is exchanged without any time passing.
func TestALaptopClosedForAWeekSyncsAtOnce(t *testing.T) {
	for name, schedule := range map[string]replica.LinkOption{"live": replica.Live(), "every day": replica.Every(24 * time.Hour)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, nil)
				c := d.connect(t, schedule)
				require.Equal(t, replica.LinkStatus{Link: "mem:laptop->hub", Online: true, LastSync: time.Now(), Next: c.Status().Next}, c.Status())
				time.Sleep(time.Minute) // time for the live one to come to rest

				d.laptop.SetOnline(false)
				synctest.Wait()
				put(t, d.laptop, "here", `{"n":1}`)
				put(t, d.hub, "there", `{"n":1}`)
				time.Sleep(7 * 24 * time.Hour)
				require.EqualValues(t, 1, d.sessions.Load())
				require.False(t, has(t, d.laptop, "there"))

				d.laptop.SetOnline(true)
				synctest.Wait()
				require.True(t, has(t, d.laptop, "there"))
				require.True(t, has(t, d.hub, "here"))
				require.Zero(t, c.Status().Attempts, "no attempt has failed")
				require.Equal(t, time.Now(), c.Status().LastSync)
				require.NoError(t, c.Close())
				requireEqual(t, d.laptop, d.hub)
			})
		})
	}
}

// While a machine sleeps its timers stand still, and its wall clock does not: the run
// that was missed is made within moments of waking, not when the timer would ring.
func TestARunMissedAsleepIsMadeUpFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asleep atomic.Int64
		d := newDesk(t, &replica.Options{Now: func() time.Time { return time.Now().Add(time.Duration(asleep.Load())) }})
		d.connect(t, replica.Every(time.Hour))
		require.EqualValues(t, 1, d.sessions.Load())
		time.Sleep(59 * time.Minute)
		require.EqualValues(t, 1, d.sessions.Load())
		time.Sleep(time.Minute)
		synctest.Wait()
		require.EqualValues(t, 2, d.sessions.Load(), "an hour after the first")

		asleep.Store(int64(7 * 24 * time.Hour))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.EqualValues(t, 3, d.sessions.Load(), "once, however many were missed")
		time.Sleep(59 * time.Minute)
		require.EqualValues(t, 3, d.sessions.Load())

		asleep.Store(-int64(7 * 24 * time.Hour)) // and a clock that is set back stops nothing
		time.Sleep(time.Minute)
		synctest.Wait()
		require.EqualValues(t, 4, d.sessions.Load())
	})
}

// probed is a link that can ask the peer whether it is there.
type probed struct {
	transport.Link
	probes *atomic.Int64
}

func (p probed) Probe(ctx context.Context) error {
	p.probes.Add(1)
	c, err := p.Dial(ctx)
	if err == nil {
		err = c.Close()
	}
	return err
}

// A peer that answers a probe is dialled, however long the backoff still is.
func TestAProbeCutsTheWaitingShort(t *testing.T) {
	never := replica.Retry(transport.Backoff{Min: 1000 * time.Hour, Max: 1000 * time.Hour})
	for _, tt := range []struct {
		name  string
		opts  []replica.LinkOption
		wait  time.Duration
		found bool
	}{
		{"every 5 s unless told otherwise", []replica.LinkOption{never}, 5 * time.Second, true},
		{"as often as is said", []replica.LinkOption{never, replica.ProbeEvery(time.Second)}, time.Second, true},
		{"a schedule", []replica.LinkOption{never, replica.Every(time.Hour)}, 5 * time.Second, true},
		{"never", []replica.LinkOption{never, replica.ProbeEvery(-1)}, time.Minute, false},
		{"nobody has asked", []replica.LinkOption{never, replica.OnDemand()}, time.Minute, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net, hub, laptop := network(t), open(t, nil), open(t, &replica.Options{Random: func() float64 { return 1 }})
				link := probed{net.Link("laptop", "hub"), &atomic.Int64{}}
				c, err := laptop.Connect(link, tt.opts...)
				require.NoError(t, err)
				time.Sleep(30 * time.Second)
				synctest.Wait()
				require.False(t, c.Status().Online)
				serve(t, net, "hub", hub)
				time.Sleep(tt.wait)
				synctest.Wait()
				require.Equal(t, tt.found, c.Status().Online)
				require.Equal(t, tt.found, link.probes.Load() > 0)
				require.NoError(t, c.Close())
			})
		})
	}
}

func TestOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		d := newDesk(t, nil)
		require.ErrorIs(t, d.laptop.SyncOnce(ctx), replica.ErrNoLinks)
		c := d.connect(t, replica.OnDemand())
		put(t, d.laptop, "a", `{"n":1}`)
		time.Sleep(time.Hour)
		require.Zero(t, d.sessions.Load())
		require.NoError(t, c.SyncNow(ctx))
		require.True(t, has(t, d.hub, "a"))
		time.Sleep(time.Hour)
		require.EqualValues(t, 1, d.sessions.Load())

		c.Pause()
		require.ErrorIs(t, c.SyncNow(ctx), replica.ErrPaused)
		c.Resume()
		d.laptop.SetOnline(false)
		require.ErrorIs(t, c.SyncNow(ctx), replica.ErrOffline)
		d.laptop.SetOnline(true)
		d.net.Partition("laptop", "hub")
		var refused *transport.DialError
		require.ErrorAs(t, c.SyncNow(ctx), &refused)
		require.Equal(t, 1, c.Status().Attempts)
		d.net.Heal("laptop", "hub")
		time.Sleep(time.Hour)
		require.EqualValues(t, 1, d.sessions.Load(), "who asked was told, and may ask again")
		require.NoError(t, c.SyncNow(ctx))
		require.NoError(t, c.Close())
		require.ErrorIs(t, c.SyncNow(ctx), replica.ErrClosed)
	})
}

// A background job has all links run once, whatever their schedules.
func TestSyncOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		d := newDesk(t, nil)
		second := open(t, nil)
		serve(t, d.net, "second", second)
		d.connect(t) // live
		_, err := d.laptop.Connect(d.net.Link("laptop", "second"), replica.OnDemand())
		require.NoError(t, err)
		_, err = d.laptop.Connect(d.net.Link("laptop", "third"), replica.Every(time.Hour))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		put(t, d.laptop, "a", `{"n":1}`)
		require.ErrorContains(t, d.laptop.SyncOnce(ctx), "laptop->third")
		require.True(t, has(t, d.hub, "a"))
		require.True(t, has(t, second, "a"))
		require.EqualValues(t, 1, d.sessions.Load(), "a live link that is up makes no new session")

		third := open(t, nil)
		serve(t, d.net, "third", third)
		require.NoError(t, d.laptop.SyncOnce(ctx))
		require.True(t, has(t, third, "a"))
	})
}

// While the network is metered only what was asked for is exchanged, and what a link is
// told to carry even so.
func TestMetered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		d := newDesk(t, nil)
		urgent := transport.Scope{Only: []transport.Selector{{Collection: "notes", Prefix: "urgent"}}}
		rest := d.connect(t)
		d.laptop.SetMetered(true)
		synctest.Wait()
		require.False(t, rest.Status().Syncing)
		put(t, d.laptop, "urgent", `{"n":1}`)
		put(t, d.laptop, "later", `{"n":1}`)
		time.Sleep(time.Hour)
		require.EqualValues(t, 1, d.sessions.Load())
		require.False(t, has(t, d.hub, "urgent"))

		fast, err := d.laptop.Connect(d.link(), replica.Only(urgent), replica.EvenMetered())
		require.NoError(t, err)
		time.Sleep(time.Second)
		synctest.Wait()
		require.True(t, has(t, d.hub, "urgent"))
		require.False(t, has(t, d.hub, "later"))
		require.NoError(t, fast.Close())

		require.NoError(t, rest.SyncNow(ctx))
		require.True(t, has(t, d.hub, "later"))
		sessions := d.sessions.Load()
		time.Sleep(time.Hour)
		require.Equal(t, sessions, d.sessions.Load(), "once")

		put(t, d.laptop, "last", `{"n":1}`)
		d.laptop.SetMetered(false)
		synctest.Wait()
		require.True(t, has(t, d.hub, "last"))
	})
}

// A run ends in good order at its limit, and the next one goes on; no change is sent
// twice.
func TestMaxPerRun(t *testing.T) {
	const each, limit = 250, 100
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		d := newDesk(t, nil)
		for i := range each {
			put(t, d.laptop, fmt.Sprint("l", i), `{"n":1}`)
			put(t, d.hub, fmt.Sprint("h", i), `{"n":1}`)
		}
		sent, received, runs := 0, 0, 0
		for err := error(replica.ErrLimit); err != nil; runs++ {
			var n replica.Counts
			n, err = d.laptop.Sync(ctx, d.link(), replica.MaxPerRun(limit, 0))
			if err != nil {
				require.ErrorIs(t, err, replica.ErrLimit)
			}
			require.LessOrEqual(t, n.ChangesSent, limit)
			sent, received = sent+n.ChangesSent, received+n.ChangesReceived
			require.Less(t, runs, 20)
		}
		require.GreaterOrEqual(t, runs, 3)
		require.Equal(t, []int{each, each}, []int{sent, received})
		requireEqual(t, d.laptop, d.hub)
		for _, p := range status(t, d.hub).Peers {
			require.Empty(t, p.LastError)
		}

		_, err := d.laptop.Connect(d.link(), replica.MaxPerRun(1, 0))
		require.ErrorContains(t, err, "MaxPerRun")
		_, err = d.laptop.Connect(d.link(), replica.Every(0))
		require.ErrorContains(t, err, "Every")
	})
}

// A schedule goes on where the limit of the run before it ended it.
func TestALimitedScheduleCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		for i := range 30 {
			put(t, d.laptop, fmt.Sprint(i), `{"n":"0123456789"}`)
		}
		c := d.connect(t, replica.Every(time.Minute), replica.MaxPerRun(0, 1000))
		require.True(t, has(t, d.hub, "0"))
		require.False(t, has(t, d.hub, "29"))
		require.Empty(t, c.Status().LastError, "that is no failure")
		require.True(t, c.Status().LastSync.IsZero())
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.True(t, has(t, d.hub, "29"))
		require.NoError(t, c.Close())
		requireEqual(t, d.laptop, d.hub)
	})
}

// Pause ends a session in good order; Disconnect cuts it. Neither counts as a failure, and
// both are over at once.
func TestPauseAndDisconnect(t *testing.T) {
	for name, do := range map[string]struct {
		rest, goOn func(*desk, *replica.Connection)
		online     bool
	}{
		"pause a link":    {func(_ *desk, c *replica.Connection) { c.Pause() }, func(_ *desk, c *replica.Connection) { c.Resume() }, true},
		"pause all links": {func(d *desk, _ *replica.Connection) { d.laptop.Pause() }, func(d *desk, _ *replica.Connection) { d.laptop.Resume() }, true},
		"disconnect":      {func(_ *desk, c *replica.Connection) { c.Disconnect() }, func(_ *desk, c *replica.Connection) { c.Reconnect() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, nil)
				c := d.connect(t)
				put(t, d.laptop, "before", `{"n":1}`)
				do.rest(d, c)
				time.Sleep(time.Second) // the peer may hold an acknowledgement back for half of it
				synctest.Wait()
				require.Equal(t, do.online, c.Status().Online)
				require.True(t, c.Status().Paused)
				require.Empty(t, c.Status().LastError)
				if do.online {
					require.True(t, has(t, d.hub, "before") == (status(t, d.laptop).Peers[0].Pending == 0), "what was sent is acknowledged")
				}
				put(t, d.laptop, "while", `{"n":1}`)
				time.Sleep(time.Hour)
				require.EqualValues(t, 1, d.sessions.Load())
				require.False(t, has(t, d.hub, "while"))
				do.goOn(d, c)
				synctest.Wait()
				require.True(t, has(t, d.hub, "while"))
				require.True(t, has(t, d.hub, "before"))
				require.Zero(t, c.Status().Attempts)
				require.False(t, c.Status().Paused)
			})
		})
	}
}

// Pausing a link whose peer has fallen silent does not take for ever.
func TestPauseDoesNotWaitForASilentPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		c := d.connect(t)
		time.Sleep(time.Minute)
		d.net.Partition("laptop", "hub")
		put(t, d.laptop, "a", `{"n":1}`)
		time.Sleep(time.Second)
		c.Pause()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		st, err := d.laptop.Status(context.Background())
		require.NoError(t, err)
		require.Equal(t, replica.StateDisconnected, st.Peers[0].State)
	})
}

// Several links at once keep to a schedule each.
func TestEachLinkHasItsSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, laptop := network(t), open(t, nil)
		counts := map[string]*atomic.Int64{}
		for _, name := range []string{"live", "often", "seldom", "never"} {
			n, hub := &atomic.Int64{}, open(t, nil)
			counts[name] = n
			_, err := net.Listen(name, func(ctx context.Context, c transport.Conn) error {
				n.Add(1)
				return hub.Accept(ctx, c, transport.FullGrant())
			})
			require.NoError(t, err)
			_, err = laptop.Connect(net.Link("laptop", name), map[string]replica.LinkOption{
				"live": replica.Live(), "often": replica.Every(5 * time.Minute), "seldom": replica.Every(20 * time.Minute), "never": replica.OnDemand(),
			}[name])
			require.NoError(t, err)
		}
		time.Sleep(41 * time.Minute)
		synctest.Wait()
		got := map[string]int64{}
		for name, n := range counts {
			got[name] = n.Load()
		}
		require.Equal(t, map[string]int64{"live": 1, "often": 9, "seldom": 3, "never": 0}, got)
	})
}

// What the application hears of a day.
func TestSyncEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		ctx, cancel := context.WithCancel(context.Background())
		events := d.laptop.SyncEvents(ctx)
		var heard []string
		done := make(chan struct{})
		go func() {
			defer close(done)
			for e := range events {
				s := e.Kind.String()
				if e.Err != nil {
					s += ": " + e.Err.Error()
				}
				heard = append(heard, s)
			}
		}()
		tell := func() []string {
			synctest.Wait()
			defer func() { heard = nil }()
			return slices.Clone(heard)
		}
		c := d.connect(t)
		require.Equal(t, []string{"link up", "sync begun", "sync ended"}, tell())
		d.laptop.SetOnline(false)
		require.Equal(t, []string{"link down: " + replica.ErrOffline.Error()}, tell())
		d.laptop.SetOnline(true)
		require.Equal(t, []string{"link up", "sync begun", "sync ended"}, tell())
		d.net.Partition("laptop", "hub")
		d.net.Cut("laptop", "hub")
		require.Len(t, tell(), 1)
		time.Sleep(time.Minute)
		require.Empty(t, tell(), "that it is down is said once")
		d.net.Heal("laptop", "hub")
		time.Sleep(30 * time.Second)
		require.Equal(t, []string{"link up", "sync begun", "sync ended"}, tell())
		require.NoError(t, c.Close())
		tell()

		refusing := open(t, &replica.Options{Space: "another"})
		serve(t, d.net, "other", refusing)
		ours := open(t, &replica.Options{Space: "ours"})
		events2 := ours.SyncEvents(ctx)
		c, err := ours.Connect(d.net.Link("laptop", "other"))
		require.NoError(t, err)
		<-c.Done()
		for e := range events2 {
			require.Equal(t, replica.LinkRefused, e.Kind)
			require.ErrorContains(t, e.Err, "one side holds the space")
			require.ErrorContains(t, c.Err(), e.Err.Error())
			break
		}
		cancel()
		<-done
	})
}

// The status that a screen shows: the latest, whenever it is another one.
func TestFollowSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		d := newDesk(t, nil)
		var last replica.SyncStatus
		seen, done := 0, make(chan struct{})
		go func() {
			defer close(done)
			for st := range d.laptop.FollowSync(ctx) {
				last = st
				last.Links = nil
				seen++
			}
		}()
		synctest.Wait()
		require.Equal(t, replica.SyncStatus{}, last)
		put(t, d.laptop, "a", `{"n":1}`)
		c, err := d.laptop.Connect(d.link(), replica.Every(time.Hour))
		require.NoError(t, err)
		synctest.Wait()
		first := time.Now()
		require.Equal(t, replica.SyncStatus{Online: true, LastSync: first}, last)
		put(t, d.laptop, "b", `{"n":1}`)
		put(t, d.laptop, "c", `{"n":1}`)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, replica.SyncStatus{Online: true, LastSync: first, Pending: 2}, last)
		d.net.Partition("laptop", "hub")
		require.Error(t, c.SyncNow(ctx))
		synctest.Wait()
		require.False(t, last.Online)
		require.Contains(t, last.LastError, "partitioned")
		d.net.Heal("laptop", "hub")
		time.Sleep(time.Second)
		synctest.Wait()
		require.Empty(t, last.LastError)
		require.Zero(t, last.Pending)
		require.True(t, last.Online)
		d.laptop.SetMetered(true)
		d.laptop.SetOnline(false)
		synctest.Wait()
		require.False(t, last.Online)
		require.True(t, last.Metered)
		before := seen
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, before, seen, "nothing has changed")
		cancel()
		<-done
	})
}
