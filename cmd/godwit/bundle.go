package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport/bundle"
)

type bundleCmd struct {
	Create bundleCreateCmd `cmd:"" help:"Write this replica's changes to a file."`
	Apply  bundleApplyCmd  `cmd:"" help:"Take the changes in a file."`
	Show   bundleShowCmd   `cmd:"" help:"Check a file and say what it holds."`
}

// bundled is what the commands print with --json.
type bundled struct {
	File    string `json:"file"`
	Space   string `json:"space,omitempty"`
	Replica string `json:"replica"`
	From    int64  `json:"from"`    // it holds what is behind this position of the log
	Through int64  `json:"through"` // up to this one
	Sets    int    `json:"sets"`
	Changes int    `json:"changes"`
	Bytes   int64  `json:"bytes"`
}

func bundledOf(file string, i bundle.Info) bundled {
	return bundled{file, i.Space, i.Replica.String(), int64(i.From.LSN), int64(i.Through.LSN), i.Sets, i.Changes, i.Bytes}
}

func (b bundled) print(e *env) error {
	if e.json {
		return e.printJSON(b)
	}
	space := "no space"
	if b.Space != "" {
		space = "space " + b.Space
	}
	e.printf("%s: replica %s, %s, positions %d to %d of its log: %d changes in %d sets, %d bytes\n",
		b.File, b.Replica, space, b.From, b.Through, b.Changes, b.Sets, b.Bytes)
	return nil
}

type bundleCreateCmd struct {
	File  string `arg:"" help:"The file to be written; one that exists is replaced when the new one is complete."`
	Since string `placeholder:"BUNDLE" help:"Write only what came after this earlier bundle of the same replica."`
}

// Help is shown by --help.
func (bundleCreateCmd) Help() string {
	return `For a replica that no network reaches: carry the file there and apply it.

    godwit bundle create monday.bundle
    godwit bundle create tuesday.bundle --since monday.bundle`
}

// Run writes the bundle beside its place, and moves it there when it is on disk.
func (c *bundleCreateCmd) Run(e *env) error {
	since, err := c.since(e)
	if err != nil {
		return fmt.Errorf("bundle create: %w", err)
	}
	var info bundle.Info
	err = e.replica(mustExist, func(r *replica.Replica) (err error) {
		info, err = c.write(e, r, since)
		return err
	})
	if errors.Is(err, replica.ErrOtherLog) {
		return fmt.Errorf("bundle create: %s was written by another replica, or this file was restored from a backup since: leave --since away", c.Since)
	}
	if err != nil {
		return fmt.Errorf("bundle create: %w", err)
	}
	return bundledOf(c.File, info).print(e)
}

func (c *bundleCreateCmd) since(e *env) (*bundle.Info, error) {
	if c.Since == "" {
		return nil, nil
	}
	info, err := readBundle(e, c.Since)
	return &info, err
}

func (c *bundleCreateCmd) write(e *env, r *replica.Replica, since *bundle.Info) (info bundle.Info, err error) {
	dir, name := filepath.Split(c.File)
	tmp, err := os.CreateTemp(dir, name+".*.part")
	if err != nil {
		return info, err
	}
	defer os.Remove(tmp.Name()) // gone if it was moved
	bar := newProgress(e.stderr, "bundle", -1, false)
	defer bar.done()
	info, err = r.WriteBundle(e.ctx, tmp, since, func(done, total crdt.LSN) {
		bar.total(int64(total))
		bar.set(int64(done))
	})
	if err == nil {
		err = errors.Join(tmp.Chmod(0o644), tmp.Sync())
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return info, err
	}
	if err := os.Rename(tmp.Name(), c.File); err != nil {
		return info, err
	}
	return info, syncDir(dir)
}

// syncDir makes a file's new name durable.
func syncDir(dir string) error {
	if dir == "" {
		dir = "."
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func readBundle(e *env, path string) (bundle.Info, error) {
	f, err := os.Open(path)
	if err != nil {
		return bundle.Info{}, err
	}
	defer f.Close()
	info, err := bundle.Read(e.ctx, f)
	if err != nil {
		return info, fmt.Errorf("%s: %w", path, err)
	}
	return info, nil
}

type bundleApplyCmd struct {
	File string `arg:"" help:"The file."`
}

// Help is shown by --help.
func (bundleApplyCmd) Help() string {
	return `The file is checked as a whole first. Then its changes are taken as those of a peer are: checked one by one, and none twice. If
an earlier bundle is missing, changes that need it wait until it is applied (see doctor), and the exit code is 1.

    godwit bundle apply monday.bundle`
}

// Run applies the bundle.
func (c *bundleApplyCmd) Run(e *env) error {
	return e.replica(mayCreate, func(r *replica.Replica) error {
		bar := newProgress(e.stderr, "bundle", -1, true)
		n, err := r.Sync(e.ctx, bundle.Link(c.File, func(done, total int64) {
			bar.total(total)
			bar.set(done)
		}), replica.PullOnly())
		bar.done()
		var incomplete *replica.IncompleteError
		if err != nil && !errors.As(err, &incomplete) {
			return err
		}
		return errors.Join(err, printApplied(e, applied{c.File, n.ChangesReceived, n.Quarantined}))
	})
}

// applied is what apply prints with --json.
type applied struct {
	File        string `json:"file"`
	Changes     int    `json:"changes"`     // that it holds and were not known to be here
	Quarantined int    `json:"quarantined"` // of which so many sets were refused, or wait
}

func printApplied(e *env, a applied) error {
	if e.json {
		return e.printJSON(a)
	}
	e.printf("%s: %d changes taken, %d sets refused or waiting\n", a.File, a.Changes, a.Quarantined)
	return nil
}

type bundleShowCmd struct {
	File string `arg:"" help:"The file."`
}

// Run checks the bundle.
func (c *bundleShowCmd) Run(e *env) error {
	info, err := readBundle(e, c.File)
	if err != nil {
		return fmt.Errorf("bundle show: %w", err)
	}
	return bundledOf(c.File, info).print(e)
}
