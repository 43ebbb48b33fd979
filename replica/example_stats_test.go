package replica_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/godwitdb/godwit/replica"
)

// What a replica holds, and what is still to go out.
func ExampleReplica_Stats() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "godwit-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	r, err := replica.Open(ctx, filepath.Join(dir, "notes.db"), nil)
	if err != nil {
		panic(err)
	}
	defer r.Close()
	notes := replica.NewCollection[map[string]any](r, "notes")
	for _, title := range []string{"Tides", "Moon", "Sun"} {
		if _, err := notes.Create(ctx, map[string]any{"title": title}); err != nil {
			panic(err)
		}
	}
	st, err := r.Stats(ctx)
	if err != nil {
		panic(err)
	}
	for _, c := range st.Collections {
		fmt.Println(c.Name, c.Records)
	}
	fmt.Println(st.Changes, "changes", st.Bytes.Changes > 0, st.Bytes.Snapshots)
	// Output:
	// notes 3
	// 3 changes true 0
}
