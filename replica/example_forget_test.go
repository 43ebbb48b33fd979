package replica_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport/httplink"
)

// A phone drops a photo that the hub holds, and gets it back when it is looked at.
func ExampleReplica_Forget() {
	dir, err := os.MkdirTemp("", "godwit-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	hub, err := replica.OpenHub(filepath.Join(dir, "hub"), &replica.Options{Keeper: true})
	if err != nil {
		panic(err)
	}
	defer hub.Close()
	handler := httplink.Handler(&httplink.ServerOptions{Accept: hub.Accept})
	server := httptest.NewServer(handler)
	defer server.Close()
	defer handler.Close(context.Background())

	if err := forgetPhoto(filepath.Join(dir, "phone.db"), server.URL); err != nil {
		panic(err)
	}
	// Output:
	// forgotten: 1
	// here: false
	// {"title":"Tides"}
}

func forgetPhoto(path, hubURL string) error {
	ctx := context.Background()
	phone, err := replica.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	defer phone.Close()
	photo := crdt.Key{Collection: "photos", ID: "1"}
	if err := phone.Update(ctx, func(tx *replica.Tx) error { return tx.Put(photo, map[string]any{"title": "Tides"}) }); err != nil {
		return err
	}
	link, err := httplink.New(hubURL+"/spaces/demo", nil)
	if err != nil {
		return err
	}
	if _, err := phone.Sync(ctx, link); err != nil {
		return err
	}

	n, err := phone.Forget(ctx, link, []crdt.Key{photo})
	if err != nil {
		return err
	}
	fmt.Println("forgotten:", n.Forgotten)
	_, err = phone.Get(ctx, photo)
	fmt.Println("here:", !errors.Is(err, replica.ErrForgotten))

	if _, err := phone.Fetch(ctx, link, photo); err != nil {
		return err
	}
	value, err := phone.Get(ctx, photo)
	fmt.Println(string(value))
	return err
}
