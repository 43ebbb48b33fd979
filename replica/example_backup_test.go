package replica_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// A backup is taken while the replica is in use, and opens like any other file.
func ExampleReplica_Backup() {
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
	tides := crdt.Key{Collection: "notes", ID: "tides"}
	write := func(title string) error {
		return notes.Update(ctx, func(tx *replica.Tx) error { return tx.Put(tides, map[string]any{"title": title}) })
	}
	if err := write("Tides"); err != nil {
		panic(err)
	}
	saved := filepath.Join(dir, "saved.db")
	if err := notes.Backup(ctx, saved, nil); err != nil {
		panic(err)
	}
	if err := write("Ebb"); err != nil {
		panic(err)
	}

	old, err := replica.Open(ctx, saved, nil)
	if err != nil {
		panic(err)
	}
	defer old.Close()
	value, err := old.Get(ctx, tides)
	fmt.Println(string(value), err)
	// Output: {"title":"Tides"} <nil>
}
