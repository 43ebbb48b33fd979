package replica

import (
	"context"

	"github.com/godwitdb/godwit/persist"
)

// BackupOptions tune Backup.
type BackupOptions = persist.BackupOptions

// Backup writes a copy of the replica, as it is when Backup begins, to a new file at
// path; it is read, written and synced meanwhile. A file at path is a whole backup:
// it gets that name when it is complete and on the disk. Options may be nil. Errors
// are persist.ErrExists, persist.ErrNoFolder and the like.
//
// The copy is the same replica, of an earlier time. Put in its place it gets on with
// all peers: they notice, and give back what it has lost. It may even be used beside
// the original, but a second device is better made as a new replica that syncs.
func (r *Replica) Backup(ctx context.Context, path string, o *BackupOptions) error {
	ctx, stop := r.scoped(ctx) // Close does not wait for it
	defer stop()
	if err := r.commit(ctx, 0, func(b *batch) error { return b.tx.Show() }); err != nil {
		return err
	}
	return translate(r.store.Backup(ctx, path, o))
}
