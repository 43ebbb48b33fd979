package replica_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/godwitdb/godwit/replica"
)

// Queries select by what the stored view shows; an index makes those on its field fast.
func Example_query() {
	dir, err := os.MkdirTemp("", "godwit-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := query(dir); err != nil {
		panic(err)
	}
	// Output:
	// call Ben
	// buy rope
	// true 2
	// false 1
	// sails 1
}

func query(dir string) error {
	ctx := context.Background()
	r, err := replica.Open(ctx, filepath.Join(dir, "tasks.db"), nil)
	if err != nil {
		return err
	}
	defer r.Close()

	type Task struct {
		Title string    `json:"title"`
		Tags  []string  `json:"tags"`
		Open  bool      `json:"open"`
		Due   time.Time `json:"due"`
	}
	tasks := replica.NewCollection[Task](r, "tasks")
	day := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	for id, t := range map[string]Task{
		"1": {"buy rope", []string{"sails", "shop"}, true, day.AddDate(0, 0, 3)},
		"2": {"call Ben", []string{"phone"}, true, day.AddDate(0, 0, 1)},
		"3": {"paint the hull", nil, false, day},
	} {
		if err := tasks.Put(ctx, id, t); err != nil {
			return err
		}
	}
	if err := r.EnsureIndex(ctx, "tasks", "due"); err != nil { // built in the background
		return err
	}

	open := replica.Query{
		Where:   replica.And(replica.Where("open", replica.Eq, true), replica.Where("due", replica.Ge, day)),
		OrderBy: []replica.Order{{Field: "due"}},
		Limit:   20,
	}
	for _, task := range tasks.Query(ctx, open) {
		if task.Err != nil {
			return task.Err
		}
		fmt.Println(task.Value.Title)
	}

	groups, err := r.CountBy(ctx, replica.Query{Collection: "tasks", OrderBy: []replica.Order{{Desc: true}}}, "open")
	if err != nil {
		return err
	}
	for _, g := range groups {
		fmt.Println(string(g.Value), g.Count)
	}

	const sql = "SELECT value, count(*) AS n FROM tasks, json_each(tags) WHERE value LIKE ? GROUP BY value"
	for row, err := range r.SQL(ctx, sql, "sa%") {
		if err != nil {
			return err
		}
		fmt.Println(row.Values...)
	}
	return nil
}
