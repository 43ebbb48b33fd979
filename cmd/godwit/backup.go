package main

import (
	"errors"

	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
)

type backupCmd struct {
	File  string `arg:"" help:"The file to write. It must not exist."`
	Force bool   `help:"Replace the file, which must not be open anywhere."`
}

// Help is shown by --help.
func (backupCmd) Help() string {
	return `Others read, write and sync the replica meanwhile. The file gets its name when it is complete and on the disk, so a file
of that name is a whole backup; FILE.partial-NUMBER is what a killed backup leaves, and can be deleted. It is the replica
as it was when the backup began. To go back to it, stop what uses the replica and put it in the place of the replica's
file, without the -wal and -shm files that may lie there; the peers give back what came since and reached them.

    godwit backup saved.db
    godwit --db saved.db doctor`
}

// Run writes the backup.
func (c *backupCmd) Run(e *env) error {
	return e.replica(mustExist, func(r *replica.Replica) error {
		bar := newProgress(e.stderr, "backup", -1, true)
		defer bar.done()
		err := r.Backup(e.ctx, c.File, &replica.BackupOptions{Replace: c.Force, Progress: func(done, total int64) {
			bar.total(total)
			bar.set(done)
		}})
		if errors.Is(err, persist.ErrExists) {
			return errors.New(c.File + " exists: choose another name, or replace it with --force")
		}
		return err
	})
}
