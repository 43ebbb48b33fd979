package crash_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/replica/internal/crash"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
)

// orderEnv makes the test binary a process that does what the order says and dies of it.
const orderEnv = "GODWIT_CRASH_ORDER"

// order is what a process is to do.
type order struct {
	Role     string
	Path     string
	Key, New int    // of the file; the key to change to
	URL      string // of the hub
	Round    int
	At       int  // kill at this call that alters a file beside Path; 0: at the end
	Torn     bool // if it writes, when half of it is written
}

func TestMain(m *testing.M) {
	if text := os.Getenv(orderEnv); text != "" {
		signal.Ignore(syscall.SIGPIPE)
		var o order
		err := json.Unmarshal([]byte(text), &o)
		if err == nil {
			err = o.obey()
		}
		fmt.Println("error", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// obey never returns nil: it ends with a kill.
func (o *order) obey() error {
	var calls atomic.Int64
	err := crash.Intercept(func(c *crash.Call) crash.Code {
		if strings.HasPrefix(c.Path, filepath.Dir(o.Path)) && calls.Add(1) == int64(o.At) {
			if o.Torn && c.Op == crash.Write {
				tear(c)
			}
			die()
		}
		return crash.OK
	})
	if err != nil {
		return err
	}
	r, err := replica.Open(context.Background(), o.Path, &replica.Options{Key: keyOf(o.Key)})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	var failed atomic.Pointer[error]
	for w := range writers {
		all.Go(func() {
			if err := o.write(ctx, r, w); err != nil {
				failed.Store(&err)
			}
		})
	}
	err = roles[o.Role](o, ctx, r)
	stop()
	all.Wait()
	if f := failed.Load(); f != nil {
		err = errors.Join(err, *f)
	}
	if err == nil && o.Round%2 == 0 {
		err = r.Close()
	}
	if err != nil {
		return err
	}
	fmt.Println("calls", calls.Load())
	die()
	return nil
}

// die kills this process, all threads of which stop at once.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// tear writes the first half of what was to be written.
func tear(c *crash.Call) {
	if f, err := os.OpenFile(c.Path, os.O_WRONLY, 0); err == nil {
		_, _ = f.WriteAt(c.Data[:len(c.Data)/2], c.Offset)
	}
}

// write goes on with the writer's numbers until ctx ends, and says each that is
// acknowledged.
func (o *order) write(ctx context.Context, r *replica.Replica, writer int) error {
	v, err := r.Get(context.Background(), work("one", writer))
	last := struct{ N int }{}
	if err == nil {
		err = json.Unmarshal(v, &last)
	}
	if errors.Is(err, replica.ErrNotFound) {
		err = nil
	}
	for n := last.N + 1; err == nil && ctx.Err() == nil; n++ {
		if _, err = write(context.Background(), r, writer, n); err == nil {
			fmt.Println("wrote", writer, n)
		}
	}
	return err
}

// roles are what is done while writers write. Each says when it begins and ends.
var roles = map[string]func(*order, context.Context, *replica.Replica) error{
	"write": func(o *order, ctx context.Context, r *replica.Replica) error { return waitFor(ctx, r, 40) },
	"import": func(o *order, ctx context.Context, r *replica.Replica) error {
		err := o.runImport(ctx, r)
		if err == nil {
			fmt.Println("ended")
		}
		return err
	},
	"put all": func(o *order, ctx context.Context, r *replica.Replica) error {
		n, err := o.putAll(ctx, r)
		if n == manyRecords {
			fmt.Println("ended")
		}
		return err
	},
	"sync":  (*order).sync,
	"serve": (*order).serve,
	"compact": func(o *order, ctx context.Context, r *replica.Replica) error {
		_, err := r.Compact(ctx, &replica.CompactOptions{MinBytes: 1, Vacuum: o.Round%2 == 0}, nil)
		return err
	},
	"policy": func(o *order, ctx context.Context, r *replica.Replica) error {
		p := crdt.Policy{Default: []string{crdt.ResolverLWW, crdt.ResolverMax, crdt.ResolverMin}[o.Round%3]}
		if o.Round%2 == 0 {
			return r.SetSpacePolicy(ctx, "many", p, nil)
		}
		return r.SetPolicy(ctx, "many", p, nil)
	},
	"encrypt": func(o *order, ctx context.Context, r *replica.Replica) error { return r.Encrypt(ctx, keyOf(o.New)) },
	"rekey":   func(o *order, ctx context.Context, r *replica.Replica) error { return r.Rekey(ctx, keyOf(o.New)) },
	"decrypt": func(o *order, ctx context.Context, r *replica.Replica) error { return r.Decrypt(ctx) },
	"forget":  (*order).forget,
	"backup": func(o *order, ctx context.Context, r *replica.Replica) error {
		fmt.Println("begun")
		err := r.Backup(ctx, backupOf(o.Path), &replica.BackupOptions{Replace: true})
		if err == nil {
			fmt.Println("ended")
		}
		return err
	},
	"migrate": func(o *order, ctx context.Context, r *replica.Replica) error { return waitFor(ctx, r, 3) },
}

// waitFor returns when the log has grown by n changes.
func waitFor(ctx context.Context, r *replica.Replica, n crdt.LSN) error {
	first, err := r.Head(ctx)
	if err != nil {
		return err
	}
	for range r.Watch(ctx, "work") {
		head, err := r.Head(ctx)
		if err != nil || head.LSN >= first.LSN+n {
			return err
		}
	}
	return nil
}

// imported is the record that a round imports.
func imported(round int) crdt.Key { return crdt.Key{Collection: "imported", ID: fmt.Sprint(round)} }

// many is one of the records that a round puts.
func many(round, i int) crdt.Key {
	return crdt.Key{Collection: "many", ID: fmt.Sprintf("%05d-%03d", round, i)}
}

// manyRecords is how many a round puts, by two change sets.
const manyRecords = replica.PutAllRecords + 100

func backupOf(path string) string { return path + ".backup" }

// chunksOf is the file that is imported, beside the replica's.
func chunksOf(path string) string { return filepath.Join(filepath.Dir(path), "chunks") }

func (o *order) runImport(ctx context.Context, r *replica.Replica) error {
	chunks, err := os.ReadFile(chunksOf(o.Path))
	if err == nil {
		_, err = r.Import(ctx, imported(o.Round), chunks)
	}
	return err
}

// numbered is a record of many.
type numbered struct {
	N     int
	Round int
}

func (o *order) putAll(ctx context.Context, r *replica.Replica) (n int, err error) {
	n, err = replica.NewCollection[numbered](r, "many").PutAll(ctx, func(yield func(string, numbered) bool) {
		for i := range manyRecords {
			if !yield(many(o.Round, i).ID, numbered{i, o.Round}) {
				return
			}
		}
	})
	return n, err
}

func (o *order) link() (transport.Link, error) { return httplink.New(o.URL, nil) }

func (o *order) sync(ctx context.Context, r *replica.Replica) error {
	link, err := o.link()
	for range 2 {
		if err == nil {
			_, err = r.Sync(ctx, link)
		}
	}
	return err
}

// serve lets the process that gave the order sync with this one, until it says so.
func (o *order) serve(ctx context.Context, r *replica.Replica) error {
	server := httptest.NewServer(httplink.Handler(&httplink.ServerOptions{Accept: func(ctx context.Context, _ string, c transport.Conn, g transport.Grant) error {
		return r.Accept(ctx, c, g)
	}}))
	fmt.Println("at", server.URL)
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func (o *order) forget(ctx context.Context, r *replica.Replica) error {
	link, err := o.link()
	if err != nil {
		return err
	}
	var keys []crdt.Key
	for it, err := range r.List(ctx, "many", 0) {
		if err != nil {
			return err
		}
		keys = append(keys, it.Key)
	}
	_, err = r.Forget(ctx, link, keys)
	if err == nil && len(keys) > 0 {
		_, err = r.Fetch(ctx, link, keys[:min(len(keys), 20)]...)
	}
	return err
}
