package replica_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

// What was written is in the outbox until the peers that count have it on disk.
func ExampleReplica_Outbox() {
	dir, err := os.MkdirTemp("", "godwit-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	home, err := replica.Open(ctx, filepath.Join(dir, "home.db"), nil)
	if err != nil {
		panic(err)
	}
	defer home.Close()
	phone, err := replica.Open(ctx, filepath.Join(dir, "phone.db"), nil)
	if err != nil {
		panic(err)
	}
	defer phone.Close()
	net := memlink.New(1) // in an application: httplink
	defer net.Close()
	if _, err := net.Listen("home", func(ctx context.Context, c transport.Conn) error {
		return home.Accept(ctx, c, transport.FullGrant())
	}); err != nil {
		panic(err)
	}

	tides := crdt.Key{Collection: "notes", ID: "tides"}
	lsn, err := phone.UpdateLSN(ctx, func(tx *replica.Tx) error {
		return tx.Put(tides, map[string]any{"title": "Tides"})
	})
	if err != nil {
		panic(err)
	}
	for out, err := range phone.Outbox(ctx, replica.OutboxFilter{Collection: "notes"}) {
		if err != nil {
			panic(err)
		}
		fmt.Println(out.Records, out.State)
	}

	soon, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	var pending *replica.PendingError
	if err := phone.WaitFor(soon, lsn, home.ID()); errors.As(err, &pending) {
		fmt.Println("still pending, and kept")
	}
	connection, err := phone.Connect(net.Link("phone", "home"))
	if err != nil {
		panic(err)
	}
	defer connection.Close()
	if err := phone.WaitFor(ctx, lsn, home.ID()); err != nil {
		panic(err)
	}
	for receipt, err := range phone.Receipts(ctx, tides) {
		if err != nil {
			panic(err)
		}
		fmt.Println(receipt.Peers[0].State, "at home:", receipt.Peers[0].Peer == home.ID())
	}
	// Output:
	// [notes/tides] pending
	// still pending, and kept
	// synced at home: true
}
