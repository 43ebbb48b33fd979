package crdt_test

import (
	"fmt"
	"log"

	"github.com/godwitdb/godwit/crdt"
)

// Two replicas edit a record without knowing of each other; either view of the
// outcome is computed from the same history.
func ExampleHistory() {
	here, there := crdt.ReplicaID{1}, crdt.ReplicaID{2}
	set := func(h *crdt.History, by crdt.ReplicaID, timeMS int64, v string) *crdt.Change {
		e := h.Begin(by.Actor([8]byte{}), timeMS, nil)
		if err := e.Put(crdt.Path{{Key: "name"}}, v, crdt.Merge); err != nil {
			log.Fatal(err)
		}
		c, err := e.Commit("")
		if err != nil {
			log.Fatal(err)
		}
		return c
	}
	a, b := crdt.NewHistory(), crdt.NewHistory()
	set(a, here, 1700000002000, "Ada")
	c, err := crdt.ParseChange(set(b, there, 1700000001000, "Bob").Raw())
	if err != nil {
		log.Fatal(err)
	}
	if _, err := a.Add(c); err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"automerge", "lww"} {
		v, err := crdt.Policy{Default: name}.View(here)
		if err != nil {
			log.Fatal(err)
		}
		json, _ := a.AppendJSON(nil, v)
		fmt.Printf("%-9s %s\n", name, json)
	}
	fmt.Println("conflicts", a.ConflictCount(nil))
	// Output:
	// automerge {"name":"Bob"}
	// lww       {"name":"Ada"}
	// conflicts 1
}
