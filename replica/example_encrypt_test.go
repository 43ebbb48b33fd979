package replica_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// A replica that was not encrypted is encrypted while it is in use; from then on its
// file is opened with the key.
func ExampleReplica_Encrypt() {
	dir, err := os.MkdirTemp("", "godwit-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := encryptNotes(filepath.Join(dir, "notes.db")); err != nil {
		panic(err)
	}
	// Output:
	// "Rumpelstiltskin" is in the file: true
	// "Rumpelstiltskin" is in the file: false
	// without the key: true
	// with the key: {"name":"Rumpelstiltskin"}
}

func encryptNotes(path string) error {
	ctx := context.Background()
	id := crdt.Key{Collection: "notes", ID: "1"}
	notes, err := replica.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	defer notes.Close()
	err = notes.Update(ctx, func(tx *replica.Tx) error {
		return tx.Put(id, map[string]any{"name": "Rumpelstiltskin"})
	})
	if err != nil {
		return err
	}
	printLeak(path)

	secret := make([]byte, replica.KeySize) // to be kept where only the user gets at it
	rand.Read(secret)
	key, err := replica.NewKey(secret) // or replica.Passphrase("correct horse ...")
	if err != nil {
		return err
	}
	if err := notes.Encrypt(ctx, key); err != nil {
		return err
	}
	printLeak(path)
	if err := notes.Close(); err != nil {
		return err
	}

	_, err = replica.Open(ctx, path, nil)
	fmt.Println("without the key:", errors.Is(err, replica.ErrEncrypted))
	again, err := replica.Open(ctx, path, &replica.Options{Key: key})
	if err != nil {
		return err
	}
	defer again.Close()
	value, err := again.Get(ctx, id)
	fmt.Println("with the key:", string(value))
	return err
}

// printLeak looks for what was written in the bytes on the disk.
func printLeak(path string) {
	all, _ := os.ReadFile(path)
	wal, _ := os.ReadFile(path + "-wal")
	fmt.Printf("%q is in the file: %v\n", "Rumpelstiltskin", bytes.Contains(append(all, wal...), []byte("Rumpelstiltskin")))
}
