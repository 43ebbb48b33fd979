package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"golang.org/x/term"

	"github.com/godwitdb/godwit/replica"
)

// env is what every command runs in.
type env struct {
	ctx    context.Context // ends with the first interrupt
	db     string
	space  string // that the replica is to hold; "": whatever it holds
	key    keySource
	json   bool
	stdin  io.Reader
	stdout *bufio.Writer
	stderr io.Writer
	log    *slog.Logger // nil: as text, to stderr
}

// usageError is a mistake on the command line.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// create says what to do when the replica's file is not there.
type create bool

const (
	mayCreate create = true
	mustExist create = false
)

// replica opens the replica, runs fn and closes it again.
func (e *env) replica(c create, fn func(*replica.Replica) error) (err error) {
	if err := e.findDB(c); err != nil {
		return err
	}
	key, err := e.key.key()
	if err != nil {
		return err
	}
	return e.replicaWith(key, fn)
}

// replicaWith is replica, with a key of its own, for a file that exists or may be
// created.
func (e *env) replicaWith(key replica.Key, fn func(*replica.Replica) error) (err error) {
	r, err := replica.Open(e.ctx, e.db, &replica.Options{Space: e.space, Key: key, Logger: e.logger()})
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := r.Close(); err == nil {
			err = closeErr
		}
	}()
	return fn(r)
}

// findDB checks that a file was named, and that it exists if it has to.
func (e *env) findDB(c create) error {
	if e.db == "" {
		return usagef("no replica named: give --db FILE or set GODWIT_DB")
	}
	if _, err := os.Stat(e.db); c == mustExist && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no replica at %s: put, import, policy, constrain, sync and connect create one", e.db)
	}
	return nil
}

// logger writes what no caller can be told to standard error.
func (e *env) logger() *slog.Logger {
	if e.log != nil {
		return e.log
	}
	return slog.New(slog.NewTextHandler(e.stderr, nil))
}

// note writes a line for people to standard error.
func (e *env) note(format string, args ...any) {
	fmt.Fprintf(e.stderr, format+"\n", args...)
}

// printJSON writes v as one line.
func (e *env) printJSON(v any) error {
	enc := json.NewEncoder(e.stdout)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// printf writes text; a failing standard output is reported at the end.
func (e *env) printf(format string, args ...any) {
	fmt.Fprintf(e.stdout, format, args...)
}

// printLine writes a line that is JSON already.
func (e *env) printLine(line []byte) error {
	_, err := e.stdout.Write(append(line, '\n'))
	return err
}

// isTerminal reports whether a person looks at w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// interruptible returns a reader that fails when ctx ends, also while a read
// from a terminal or pipe blocks. The blocked read is left behind.
func interruptible(ctx context.Context, in io.Reader) io.Reader {
	r := &blockingReader{ctx: ctx, blocks: make(chan block)}
	go func() {
		for {
			b := block{data: make([]byte, 64<<10)}
			var n int
			n, b.err = in.Read(b.data)
			b.data = b.data[:n]
			select {
			case r.blocks <- b:
			case <-ctx.Done():
				return
			}
			if b.err != nil {
				return
			}
		}
	}()
	return r
}

type block struct {
	data []byte
	err  error
}

type blockingReader struct {
	ctx    context.Context
	blocks chan block
	rest   block
}

func (r *blockingReader) Read(p []byte) (int, error) {
	for len(r.rest.data) == 0 {
		if r.rest.err != nil {
			return 0, r.rest.err
		}
		select {
		case r.rest = <-r.blocks:
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		}
	}
	n := copy(p, r.rest.data)
	r.rest.data = r.rest.data[n:]
	return n, nil
}
