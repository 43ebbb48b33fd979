package replica_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
)

// A till that was offline has written many logs, and an order at the end of the day. The
// order is the first to arrive.
func ExamplePriority() {
	dir, err := os.MkdirTemp("", "godwit-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	shop, err := replica.Open(ctx, filepath.Join(dir, "shop.db"), nil)
	if err != nil {
		panic(err)
	}
	defer shop.Close()
	handler := httplink.Handler(&httplink.ServerOptions{
		Accept: func(ctx context.Context, _ string, c transport.Conn, g transport.Grant) error {
			return shop.Accept(ctx, c, g)
		},
	})
	server := httptest.NewServer(handler)
	defer server.Close()
	defer handler.Close(ctx)

	events := shop.Watch(ctx, "")
	if err := closingTime(filepath.Join(dir, "till.db"), server.URL+"/spaces/shop"); err != nil {
		panic(err)
	}
	logs := 0
	for ev, err := range events {
		if err != nil {
			panic(err)
		}
		if ev.Key.Collection == "orders" {
			break
		}
		logs++
	}
	fmt.Printf("the order came when most of the logs were still to come: %t\n", logs < 500)
	// Output: the order came when most of the logs were still to come: true
}

func closingTime(path, url string) error {
	type entry struct{ Text string }
	type order struct{ Item string }
	ctx := context.Background()
	till, err := replica.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	defer till.Close()
	_, err = replica.NewCollection[entry](till, "logs").PutAll(ctx, func(yield func(string, entry) bool) {
		for i := range 1000 {
			if !yield(fmt.Sprint(i), entry{Text: strings.Repeat(fmt.Sprintf("%d went by, ", i), 200)}) {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	if _, err := replica.NewCollection[order](till, "orders").Create(ctx, order{Item: "tea"}); err != nil {
		return err
	}
	link, err := httplink.New(url, nil)
	if err != nil {
		return err
	}
	_, err = till.Sync(ctx, link, replica.Priority("orders"))
	return err
}
