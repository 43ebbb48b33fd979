//go:build (linux || darwin) && (amd64 || arm64)

package compactor

import (
	"fmt"

	"github.com/automerge/automerge-go"

	"github.com/godwitdb/godwit/crdt"
)

// save has the core take in a history and write it as a document.
func save(raw []byte) (chunk []byte, err error) {
	defer recovered(&err)
	doc := automerge.New()
	if err := doc.LoadIncremental(raw); err != nil {
		return nil, fmt.Errorf("load the changes into the core: %w", err)
	}
	return doc.Save(), nil
}

// load has the core read the document, and holds its heads against ours.
func load(chunk []byte, heads crdt.Heads) (err error) {
	defer recovered(&err)
	doc, err := automerge.Load(chunk)
	if err != nil {
		return fmt.Errorf("load the compacted document into the core: %w", err)
	}
	got := doc.Heads()
	same := len(got) == len(heads)
	for _, h := range got {
		found := false
		for _, want := range heads {
			found = found || crdt.Hash(h) == want
		}
		same = same && found
	}
	if !same {
		return fmt.Errorf("the compacted document has the heads %v, not %v", got, heads)
	}
	return nil
}

// recovered turns a panic of the binding into an error. Those of the core itself
// end the process.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the core failed: %v", p)
	}
}
