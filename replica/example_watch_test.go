package replica_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// A screen shows the open tasks: first those there are, then what becomes of them.
func ExampleReplica_WatchQuery() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "godwit-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	r, err := replica.Open(ctx, filepath.Join(dir, "tasks.db"), nil)
	if err != nil {
		panic(err)
	}
	defer r.Close()
	task := func(id string, open bool) {
		err := r.Update(ctx, func(tx *replica.Tx) error {
			return tx.Put(crdt.Key{Collection: "tasks", ID: id}, map[string]any{"open": open})
		})
		if err != nil {
			panic(err)
		}
	}

	task("paint", true)
	open := replica.Query{Collection: "tasks", Where: replica.Where("open", replica.Eq, true)}
	for ev, err := range r.WatchQuery(ctx, open, replica.Contents(), replica.Latest()) {
		switch {
		case err != nil:
			panic(err)
		case ev.Kind == replica.EventReady:
			task("sweep", true)
			task("paint", false)
		case ev.Query == replica.QueryLeave:
			fmt.Println("remove", ev.Key.ID)
			return
		default:
			fmt.Println("show", ev.Key.ID, string(ev.Value))
		}
	}
	// Output:
	// show paint {"open":true}
	// show sweep {"open":true}
	// remove paint
}
