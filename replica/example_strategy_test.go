package replica_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport/httplink"
)

// An order is worth waiting for until the shop has it; a price list is asked for before it
// is shown. Neither needs the shop to be there.
func Example_strategies() {
	dir, err := os.MkdirTemp("", "godwit-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	hub, err := replica.OpenHub(filepath.Join(dir, "hub"), nil)
	if err != nil {
		panic(err)
	}
	defer hub.Close()
	handler := httplink.Handler(&httplink.ServerOptions{Accept: hub.Accept})
	server := httptest.NewServer(handler)
	defer server.Close()
	defer handler.Close(context.Background())

	if err := strategies(filepath.Join(dir, "till.db"), server.URL+"/spaces/shop"); err != nil {
		panic(err)
	}
	// Output:
	// the shop has it
	// kept, and goes out later: the link is paused
	// prices: 0, up to date: false
	// prices: 0, up to date: true
}

func strategies(path, url string) error {
	type order struct{ Item string }
	type price struct{ Cents int }
	ctx := context.Background()
	till, err := replica.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	defer till.Close()
	link, err := httplink.New(url, nil)
	if err != nil {
		return err
	}
	if _, err := till.Connect(link); err != nil {
		return err
	}
	orders := replica.NewCollection[order](till, "orders",
		replica.WithSave(replica.SaveRemote(10*time.Second)), replica.WithDelete(replica.DeleteRemote(10*time.Second)))
	prices := replica.NewCollection[price](till, "prices", replica.WithFetch(replica.FetchRemoteFirst(10*time.Second)))

	if _, err := orders.Create(ctx, order{Item: "tea"}); err != nil {
		return err
	}
	fmt.Println("the shop has it")

	till.Pause() // no path for a while
	_, err = orders.Create(ctx, order{Item: "rice"})
	var pending *replica.PendingError
	if errors.As(err, &pending) && errors.Is(err, replica.ErrPaused) {
		fmt.Println("kept, and goes out later: the link is paused")
	}
	for range 2 {
		n, err := prices.Count(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("prices: %d, up to date: %t\n", n, prices.Fetched().Err == nil)
		till.Resume()
	}
	return nil
}
