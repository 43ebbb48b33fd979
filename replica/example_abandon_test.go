package replica_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

// A guest may read everything and write only what is the guests'. What the hub refused is
// given up, and kept as something that the guest may write.
func ExampleReplica_Abandon() {
	dir, err := os.MkdirTemp("", "godwit-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	hub, err := replica.Open(ctx, filepath.Join(dir, "hub.db"), nil)
	if err != nil {
		panic(err)
	}
	defer hub.Close()
	guest, err := replica.Open(ctx, filepath.Join(dir, "guest.db"), nil)
	if err != nil {
		panic(err)
	}
	defer guest.Close()
	guests := transport.Scope{Only: []transport.Selector{{Collection: "guests"}}}
	net := memlink.New(1) // in an application: httplink
	defer net.Close()
	if _, err := net.Listen("hub", func(ctx context.Context, c transport.Conn) error {
		return hub.Accept(ctx, c, transport.Grant{Read: transport.Everything(), Write: guests})
	}); err != nil {
		panic(err)
	}

	menu, wish := crdt.Key{Collection: "menu", ID: "soup"}, crdt.Key{Collection: "guests", ID: "wish"}
	write := func(r *replica.Replica, name string) {
		err := r.Update(ctx, func(tx *replica.Tx) error { return tx.Put(menu, map[string]any{"name": name}) })
		if err != nil {
			panic(err)
		}
	}
	write(hub, "leek")
	if _, err := guest.Sync(ctx, net.Link("guest", "hub")); err != nil {
		panic(err)
	}
	write(guest, "lobster")
	_, err = guest.Sync(ctx, net.Link("guest", "hub"))
	fmt.Println("taken:", err == nil)
	for out, err := range guest.Outbox(ctx, replica.OutboxFilter{}) {
		if err != nil {
			panic(err)
		}
		fmt.Println(out.Records, out.State, out.Peers[0].Code)
	}

	mine, err := guest.Get(ctx, menu)
	if err != nil {
		panic(err)
	}
	if _, err := guest.Abandon(ctx, []crdt.Key{menu}, func(tx *replica.Tx) error {
		return tx.Put(wish, map[string]any{"soup": string(mine)})
	}); err != nil {
		panic(err)
	}
	if _, err := guest.Sync(ctx, net.Link("guest", "hub")); err != nil {
		panic(err)
	}
	for _, k := range []crdt.Key{menu, wish} {
		value, err := hub.Get(ctx, k)
		if err != nil {
			panic(err)
		}
		same, err := guest.Get(ctx, k)
		fmt.Println(string(value), err == nil && string(same) == string(value))
	}
	// Output:
	// taken: false
	// [menu/soup] failed rights
	// {"name":"leek"} true
	// {"soup":"{\"name\":\"lobster\"}"} true
}
