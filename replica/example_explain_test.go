package replica_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// Why is this record not synced? The paragraph is for people, the codes are for programs.
func ExampleReplica_Explain() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "godwit-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	notes, err := replica.Open(ctx, filepath.Join(dir, "notes.db"), nil)
	if err != nil {
		panic(err)
	}
	defer notes.Close()
	why, err := notes.Explain(ctx, crdt.Key{Collection: "notes", ID: "tides"})
	if err != nil {
		panic(err)
	}
	fmt.Println(why)
	for _, reason := range why.Reasons {
		fmt.Println(reason.Code)
	}
	// Output:
	// notes/tides was never here: no peer has sent it, or what it sent was not taken. No peer is known: this replica was never connected to another.
	// absent
	// alone
}

// What is made and deleted again before anybody was shown it is not sent at all.
func ExampleReplica_Explain_unseen() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "godwit-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	notes, err := replica.Open(ctx, filepath.Join(dir, "notes.db"), nil)
	if err != nil {
		panic(err)
	}
	defer notes.Close()
	draft := crdt.Key{Collection: "notes", ID: "draft"}
	err = notes.Update(ctx, func(tx *replica.Tx) error { return tx.Put(draft, map[string]any{"title": "Tides"}) })
	if err == nil {
		err = notes.Update(ctx, func(tx *replica.Tx) error { return tx.Delete(draft) })
	}
	if err != nil {
		panic(err)
	}
	why, err := notes.Explain(ctx, draft)
	if err != nil {
		panic(err)
	}
	fmt.Println(why.Synced, why.Reasons[0].Code)
	for range notes.Outbox(ctx, replica.OutboxFilter{}) {
		fmt.Println("something waits for a peer")
	}
	// Output:
	// true unseen
}
