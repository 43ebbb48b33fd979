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
)

// openExample opens a replica in a folder that close removes.
func openExample() (r *replica.Replica, close func()) {
	dir, err := os.MkdirTemp("", "godwit-example-")
	if err != nil {
		panic(err)
	}
	r, err = replica.Open(context.Background(), filepath.Join(dir, "example.db"), nil)
	if err != nil {
		panic(err)
	}
	return r, func() { r.Close(); os.RemoveAll(dir) }
}

func ExampleCollection() {
	r, done := openExample()
	defer done()
	type Item struct {
		Name string `godwit:"name,id"` // what tells the items of a list apart
		Qty  int    `godwit:"qty"`
	}
	type Order struct {
		ID    string    `godwit:",id"` // the record's id
		Buyer string    `godwit:"buyer"`
		Note  string    `godwit:"note,text,omitempty"`
		Views int       `godwit:"views,counter"`
		Items []Item    `godwit:"items"`
		Paid  time.Time `godwit:"paid,omitempty"`
	}
	ctx := context.Background()
	orders := replica.NewCollection[Order](r, "orders")
	id, err := orders.Create(ctx, Order{Buyer: "Ana", Note: "ring twice", Items: []Item{{"pears", 1}}})
	if err != nil {
		panic(err)
	}
	err = orders.Edit(ctx, id, func(o *Order) error { // writes just what changes
		o.Note = "please " + o.Note
		o.Items = append(o.Items, Item{"figs", 2})
		return nil
	})
	if err == nil {
		err = orders.Increment(ctx, id, "views", 1)
	}
	if err != nil {
		panic(err)
	}
	o, err := orders.Get(ctx, id)
	fmt.Println(o.ID == id, o.Buyer, o.Note, o.Views, o.Items, err)

	// What another program stored as something else does not hide the rest.
	err = orders.SetPath(ctx, id, "paid", "soon")
	fmt.Println(err != nil)
	_ = r.Update(ctx, func(tx *replica.Tx) error {
		return tx.Put(crdt.Key{Collection: "orders", ID: "x"}, map[string]any{"buyer": "Ben", "views": "many"})
	})
	o, err = orders.Get(ctx, "x")
	fmt.Println(o.Buyer, err)
	// Output:
	// true Ana please ring twice 1 [{pears 1} {figs 2}] <nil>
	// true
	// Ben get orders/x: field views: want a counter, got a string
}

func ExampleCollection_In() {
	r, done := openExample()
	defer done()
	type Account struct {
		Balance int `godwit:"balance,counter"`
	}
	ctx := context.Background()
	accounts := replica.NewCollection[Account](r, "accounts")
	log := replica.NewCollection[map[string]any](r, "log")
	transfer := func(from, to string, amount int64) error {
		return r.Update(ctx, func(tx *replica.Tx) error { // all of it or nothing
			if err := accounts.In(tx).Increment(from, "balance", -amount); err != nil {
				return err
			}
			if a, err := accounts.In(tx).Get(from); err != nil || a.Balance < 0 {
				return errors.Join(err, errors.New("not enough there"))
			}
			if _, err := log.In(tx).Create(map[string]any{"from": from, "to": to}); err != nil {
				return err
			}
			return accounts.In(tx).Increment(to, "balance", amount)
		})
	}
	if err := accounts.Put(ctx, "ana", Account{100}); err != nil {
		panic(err)
	}
	fmt.Println(transfer("ana", "ben", 70))
	fmt.Println(transfer("ana", "ben", 70))
	for id, a := range accounts.All(ctx) {
		fmt.Println(id, a.Value.Balance)
	}
	n, err := log.Count(ctx)
	fmt.Println(n, err)
	// Output:
	// <nil>
	// not enough there
	// ana 30
	// ben 70
	// 1 <nil>
}

func ExampleCollection_PutAll() {
	r, done := openExample()
	defer done()
	type Reading struct {
		Sensor string  `json:"sensor"`
		Value  float64 `json:"value"`
	}
	readings := replica.NewCollection[Reading](r, "readings")
	n, err := readings.PutAll(context.Background(), func(yield func(string, Reading) bool) {
		for i := range 2000 { // as many as there are: memory stays bounded
			if !yield(fmt.Sprintf("2026-11-21-%06d", i), Reading{"north", float64(i) / 10}) {
				return
			}
		}
	})
	fmt.Println(n, err)
	// Output: 2000 <nil>
}

func ExampleWithLens() {
	r, done := openExample()
	defer done()
	type TaskV1 struct {
		Title string `godwit:"title,text"`
		Done  bool   `json:"done"`
	}
	type TaskV2 struct {
		Heading  string `godwit:"heading,text"`
		State    string `json:"state"`
		Priority int    `json:"priority"`
	}
	v1 := replica.NewCollection[TaskV1](r, "tasks")
	v2 := replica.NewCollection[TaskV2](r, "tasks", replica.WithLens(2,
		replica.Rename("title", "heading"),
		replica.Convert("done",
			func(v any) (any, error) { return map[any]string{true: "done", false: "open"}[v], nil },
			func(v any) (any, error) { return v == "done", nil }),
		replica.Rename("done", "state"),
		replica.Default("priority", 3)))

	ctx := context.Background()
	id, err := v1.Create(ctx, TaskV1{Title: "Paint the boat"})
	if err == nil {
		err = v2.Edit(ctx, id, func(t *TaskV2) error { t.Heading += " blue"; t.State = "done"; return nil })
	}
	if err != nil {
		panic(err)
	}
	old, err := v1.Get(ctx, id)
	fmt.Println(old, err)
	new, err := v2.Get(ctx, id)
	fmt.Println(new, err)
	// Output:
	// {Paint the boat blue true} <nil>
	// {Paint the boat blue done 3} <nil>
}
