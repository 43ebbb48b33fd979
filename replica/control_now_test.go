package replica_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/replica"
)

// Over a live link SyncNow waits for the acknowledgement of all that was committed before
// the call, also of what this process has not looked at yet, since another one wrote it.
func TestSyncNowWaitsForWhatWasWrittenBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		d := newDesk(t, nil)
		c := d.connect(t)
		time.Sleep(time.Minute) // it has come to rest
		another := openAt(t, d.laptop.Path(), nil)
		for _, id := range []string{"a", "b"} {
			put(t, another, id, `{"n":1}`)
			require.NoError(t, c.SyncNow(ctx))
			require.True(t, has(t, d.hub, id))
			require.Zero(t, status(t, d.laptop).Peers[0].Pending)
		}
		require.EqualValues(t, 1, d.sessions.Load())

		d.net.Partition("laptop", "hub")
		put(t, another, "c", `{"n":1}`)
		soon, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		require.ErrorIs(t, c.SyncNow(soon), context.DeadlineExceeded)
		require.False(t, has(t, d.hub, "c"))
		d.net.Heal("laptop", "hub")
		require.NoError(t, c.SyncNow(ctx))
		require.True(t, has(t, d.hub, "c"))
	})
}

// What is asked for while the network is metered is one run: what is written afterwards
// waits, and so does what the peer writes.
func TestARunAskedForWhileMeteredEnds(t *testing.T) {
	for name, schedule := range map[string]replica.LinkOption{"live": replica.Live(), "every hour": replica.Every(time.Hour)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := context.Background()
				d := newDesk(t, nil)
				d.laptop.SetMetered(true)
				c := d.connect(t, schedule)
				require.Zero(t, d.sessions.Load())
				put(t, d.laptop, "before", `{"n":1}`)
				require.NoError(t, c.SyncNow(ctx))
				require.True(t, has(t, d.hub, "before"))
				put(t, d.laptop, "after", `{"n":1}`)
				put(t, d.hub, "theirs", `{"n":1}`)
				time.Sleep(3 * time.Hour)
				synctest.Wait()
				require.False(t, has(t, d.hub, "after"))
				require.False(t, has(t, d.laptop, "theirs"))
				st, err := d.laptop.Status(ctx)
				require.NoError(t, err)
				require.Equal(t, replica.StateDisconnected, st.Peers[0].State)
				require.EqualValues(t, 1, d.sessions.Load())

				require.NoError(t, d.laptop.SyncOnce(ctx))
				require.True(t, has(t, d.hub, "after"))
				require.True(t, has(t, d.laptop, "theirs"))
				require.EqualValues(t, 2, d.sessions.Load())
				require.NoError(t, c.Close())
			})
		})
	}
}
