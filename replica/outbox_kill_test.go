package replica_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
)

// uploadEnv makes the test binary write to the replica it names while there is no
// network, then upload to the URL behind the space, print each state that a watcher of
// the outbox sees, and stall in the middle of the upload until it is killed.
const uploadEnv = "GODWIT_UPLOAD"

func upload(path, url string) error {
	ctx := context.Background()
	r, err := replica.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	for _, fn := range []func(*replica.Tx) error{
		func(tx *replica.Tx) error {
			return tx.Put(key("new"), map[string]any{"v": strings.Repeat("n", 200<<10)})
		},
		func(tx *replica.Tx) error {
			return tx.Put(key("old"), map[string]any{"v": strings.Repeat("o", 200<<10)})
		},
		func(tx *replica.Tx) error { return tx.Delete(key("dead")) },
	} {
		if err := r.Update(ctx, fn); err != nil {
			return err
		}
	}
	link, err := httplink.New(url, nil)
	if err != nil {
		return err
	}
	seen := 0
	for out, err := range r.WatchOutbox(ctx, replica.OutboxFilter{}) {
		if err != nil {
			return err
		}
		fmt.Println(out.Records[0].ID, out.State)
		if seen++; seen == 3 {
			if _, err := r.Connect(stallLink{link}); err != nil {
				return err
			}
		}
	}
	return nil
}

// stallLink loses the network once it has sent a change set.
type stallLink struct{ transport.Link }

func (l stallLink) Dial(ctx context.Context) (transport.Conn, error) {
	c, err := l.Link.Dial(ctx)
	return &stallConn{Conn: c, stalled: make(chan struct{})}, err
}

type stallConn struct {
	transport.Conn
	stalled chan struct{}
}

func (c *stallConn) Send(ctx context.Context, f transport.Frame) error {
	select {
	case <-c.stalled:
		<-ctx.Done()
		return ctx.Err()
	default:
	}
	if f, ok := f.(*transport.Changes); ok && len(f.Packed) > 10<<10 {
		close(c.stalled)
	}
	return c.Conn.Send(ctx, f)
}

func (c *stallConn) Recv(ctx context.Context) (transport.Frame, error) {
	f, err := c.Conn.Recv(ctx)
	select {
	case <-c.stalled:
		<-ctx.Done()
		return nil, ctx.Err()
	default:
		return f, err
	}
}

// What was created, edited and deleted offline goes through its states in front of a
// watcher: in a process that is killed in the middle of the upload, and in the next one.
func TestOutboxOverAKillInTheMiddleOfAnUpload(t *testing.T) {
	_, url := hubOnSocket(t)
	path := filepath.Join(t.TempDir(), "killed.db")
	link, err := httplink.New(url, &httplink.Options{Backoff: transport.Backoff{Min: 10 * time.Millisecond, Max: 50 * time.Millisecond}})
	require.NoError(t, err)
	before, err := replica.Open(t.Context(), path, &replica.Options{Space: "crew"})
	require.NoError(t, err)
	put(t, before, "old", `{"v":"1"}`)
	put(t, before, "dead", `{"v":"1"}`)
	syncWith(t, before, link)
	require.Empty(t, outbox(t, before, replica.OutboxFilter{}))
	require.NoError(t, before.Close())

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), uploadEnv+"="+path+" "+url)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	var seen []string
	for len(seen) == 0 || seen[len(seen)-1] != "new syncing" {
		require.True(t, lines.Scan(), "%v", seen)
		seen = append(seen, lines.Text())
	}
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Equal(t, []string{"new pending", "old pending", "dead pending"}, seen[:3])
	for _, line := range seen[3 : len(seen)-1] { // the peer was met
		require.Contains(t, seen[:3], line)
	}

	r := openAt(t, path, nil)
	require.Equal(t, []string{"new pending", "old pending", "dead pending"}, outbox(t, r, replica.OutboxFilter{}), "no receipt, so it is not known to be there")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	states, synced := map[string][]replica.SyncState{}, 0
	c := (*replica.Connection)(nil)
	for out, err := range r.WatchOutbox(ctx, replica.OutboxFilter{}) {
		require.NoError(t, err)
		id := out.Records[0].ID
		if s := states[id]; len(s) == 0 || s[len(s)-1] != out.State {
			states[id] = append(s, out.State)
		}
		if len(states) == 3 && c == nil {
			c, err = r.Connect(link)
			require.NoError(t, err)
		}
		if out.State == replica.SyncSynced {
			synced++
		}
		if synced == 3 {
			break
		}
	}
	all := []replica.SyncState{replica.SyncPending, replica.SyncSyncing, replica.SyncSynced}
	require.Equal(t, map[string][]replica.SyncState{"new": all, "old": all, "dead": all}, states)
	require.NoError(t, c.Close())
	require.Empty(t, outbox(t, r, replica.OutboxFilter{}))
	result, err := r.Verify(ctx, link, nil)
	require.NoError(t, err)
	require.True(t, result.Equal())
	_, err = r.Get(ctx, key("dead"))
	require.ErrorIs(t, err, replica.ErrNotFound)
}
