package replica_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

// A customer wants to be erased. Her laptop's replica was away, and has edited her record.
func ExampleReplica_Purge() {
	dir, err := os.MkdirTemp("", "godwit-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	office, err := replica.Open(ctx, filepath.Join(dir, "office.db"), nil)
	if err != nil {
		panic(err)
	}
	defer office.Close()
	laptop, err := replica.Open(ctx, filepath.Join(dir, "laptop.db"), nil)
	if err != nil {
		panic(err)
	}
	defer laptop.Close()
	net := memlink.New(1)
	defer net.Close()
	if _, err := net.Listen("office", func(ctx context.Context, c transport.Conn) error {
		return office.Accept(ctx, c, transport.FullGrant())
	}); err != nil {
		panic(err)
	}
	if err := erase(ctx, office, laptop, net.Link("laptop", "office")); err != nil {
		panic(err)
	}
	// Output:
	// purged: 1
	// gone from the laptop: true
	// a name that can be used again: false
}

func erase(ctx context.Context, office, laptop *replica.Replica, link transport.Link) error {
	ann := crdt.Key{Collection: "customers", ID: "ann"}
	edit := func(r *replica.Replica, mail string) error {
		return r.Update(ctx, func(tx *replica.Tx) error { return tx.Put(ann, map[string]any{"mail": mail}) })
	}
	if err := edit(office, "ann@example.org"); err != nil {
		return err
	}
	if _, err := laptop.Sync(ctx, link); err != nil {
		return err
	}
	if err := edit(laptop, "ann@example.com"); err != nil {
		return err
	}

	n, err := office.Purge(ctx, ann)
	if err != nil {
		return err
	}
	fmt.Println("purged:", n.Purged)
	if _, err := office.Compact(ctx, &replica.CompactOptions{Vacuum: true}, nil); err != nil { // the bytes too
		return err
	}

	if _, err := laptop.Sync(ctx, link); err != nil {
		return err
	}
	_, err = laptop.Get(ctx, ann)
	fmt.Println("gone from the laptop:", errors.Is(err, replica.ErrPurged))
	fmt.Println("a name that can be used again:", !errors.Is(edit(office, "another"), replica.ErrPurged))
	return nil
}
