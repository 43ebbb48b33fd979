//go:build !((linux || darwin) && (amd64 || arm64))

package compactor

import "github.com/godwitdb/godwit/crdt"

func save([]byte) ([]byte, error) { return nil, ErrNoCore }

func load([]byte, crdt.Heads) error { return ErrNoCore }
