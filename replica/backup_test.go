package replica_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
)

// A backup that is put back gets on with its peers: they give it what it has lost, and it
// gives them what it writes from then on.
func TestBackupRestored(t *testing.T) {
	ctx := context.Background()
	net := network(t)
	hub := open(t, nil)
	serve(t, net, "hub", hub)
	link := net.Link("a", "hub")

	path := filepath.Join(t.TempDir(), "a.db")
	a, err := replica.Open(ctx, path, nil)
	require.NoError(t, err)
	put(t, a, "1", `{"title":"Tides"}`)
	syncWith(t, a, link)
	saved := filepath.Join(t.TempDir(), "saved.db")
	require.NoError(t, a.Backup(ctx, saved, nil))
	require.ErrorIs(t, a.Backup(ctx, saved, nil), persist.ErrExists)
	put(t, a, "1", `{"title":"Ebb"}`) // not in the backup
	put(t, a, "2", `{"n":1}`)
	syncWith(t, a, link)
	put(t, a, "3", `{"lost":true}`) // nor anywhere else
	require.NoError(t, a.Close())

	require.NoError(t, os.Rename(saved, path))
	b := openAt(t, path, nil)
	put(t, b, "1", `{"more":"since"}`)
	put(t, b, "4", `{"n":4}`)
	syncWith(t, b, link)
	requireEqual(t, b, hub)
	require.JSONEq(t, `{"title":"Ebb","more":"since"}`, get(t, hub, "1"))
	require.JSONEq(t, `{"n":1}`, get(t, b, "2"))
}

// Close does not wait for a backup that goes on.
func TestBackupClosed(t *testing.T) {
	r, err := replica.Open(context.Background(), filepath.Join(t.TempDir(), "a.db"), nil)
	require.NoError(t, err)
	require.NoError(t, r.Update(context.Background(), func(tx *replica.Tx) error {
		for i := range 100 { // several steps
			if err := tx.Put(key(strconv.Itoa(i)), map[string]any{"a": string(make([]byte, 20_000))}); err != nil {
				return err
			}
		}
		return nil
	}))
	target := filepath.Join(t.TempDir(), "b.db")
	closed := make(chan error, 1)
	once := false
	err = r.Backup(context.Background(), target, &replica.BackupOptions{Progress: func(done, total int64) {
		if !once {
			once = true
			go func() { closed <- r.Close() }()
			<-r.Closing()
		}
	}})
	require.Error(t, err)
	require.NoError(t, <-closed)
	require.NoFileExists(t, target)
}
