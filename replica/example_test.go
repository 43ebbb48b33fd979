package replica_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport/httplink"
)

func Example_firstMinute() {
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

	if err := firstMinute(dir, server.URL); err != nil {
		panic(err)
	}
	// Output: sent 1 change
}

// firstMinute is the README's.
func firstMinute(dir, hubURL string) error {
	ctx := context.Background()
	notes, err := replica.Open(ctx, filepath.Join(dir, "notes.db"), nil)
	if err != nil {
		return err
	}
	defer notes.Close()

	type Note struct {
		Title string       `json:"title"`
		Body  crdt.Text    `json:"body"`
		Likes crdt.Counter `json:"likes"`
	}
	all := replica.NewCollection[Note](notes, "notes")
	if err := all.Put(ctx, "tides", Note{Title: "Tides", Body: "They come."}); err != nil {
		return err
	}
	link, err := httplink.New(hubURL+"/spaces/demo", nil)
	if err != nil {
		return err
	}
	counts, err := notes.Sync(ctx, link) // or notes.Connect(link), to stay in touch
	if err != nil {
		return err
	}
	fmt.Println("sent", counts.ChangesSent, "change")
	return nil
}
