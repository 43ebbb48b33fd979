package replica_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

// A disk has altered a change. A peer has it, and what was written since is kept.
func ExampleReplica_RepairFrom() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "godwit")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	open := func(name string) *replica.Replica {
		r, err := replica.Open(ctx, filepath.Join(dir, name), nil)
		if err != nil {
			log.Fatal(err)
		}
		return r
	}
	note := crdt.Key{Collection: "notes", ID: "1"}
	write := func(r *replica.Replica, v map[string]any) {
		if err := r.Update(ctx, func(tx *replica.Tx) error { return tx.Put(note, v) }); err != nil {
			log.Fatal(err)
		}
	}
	hub := open("hub.db")
	defer hub.Close()
	net := memlink.New(1)
	defer net.Close()
	_, err = net.Listen("hub", func(ctx context.Context, c transport.Conn) error { return hub.Accept(ctx, c, transport.FullGrant()) })
	if err != nil {
		log.Fatal(err)
	}
	phone := open("phone.db")
	write(phone, map[string]any{"title": "Tides"})
	if _, err := phone.Sync(ctx, net.Link("phone", "hub")); err != nil {
		log.Fatal(err)
	}
	write(phone, map[string]any{"body": "written offline"})
	phone.Close()
	db, _ := sql.Open("sqlite3", phone.Path())
	_, err = db.Exec("UPDATE log SET data = zeroblob(length(data)) WHERE lsn = 1")
	if err != nil {
		log.Fatal(err)
	}
	db.Close()

	phone = open("phone.db")
	defer phone.Close()
	done, err := phone.RepairFrom(ctx, net.Link("phone", "hub"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("fetched again:", done.Parted, "lost:", len(done.Lost))
	value, err := phone.Get(ctx, note)
	fmt.Println(string(value), err)
	// Output:
	// fetched again: [notes/1] lost: 0
	// {"body":"written offline","title":"Tides"} <nil>
}
