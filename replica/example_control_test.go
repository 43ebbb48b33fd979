package replica_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
)

// When a link exchanges changes is the application's to say: here every 5 minutes, at
// most 10,000 changes or 8 MiB a run, and at once when a job in the background is woken.
func Example_schedules() {
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

	if err := schedules(filepath.Join(dir, "notes.db"), server.URL+"/spaces/demo"); err != nil {
		panic(err)
	}
	// Output:
	// online: true, pending: 0
	// metered: true, pending: 1
}

func schedules(path, url string) error {
	ctx := context.Background()
	notes, err := replica.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	defer notes.Close()
	link, err := httplink.New(url, nil)
	if err != nil {
		return err
	}
	_, err = notes.Connect(link, replica.Every(5*time.Minute), replica.MaxPerRun(10_000, 8<<20),
		replica.Retry(transport.Backoff{Min: time.Second, Step: time.Second, Max: time.Minute})) // a linear one
	if err != nil {
		return err
	}

	type Note struct{ Title string }
	all := replica.NewCollection[Note](notes, "notes")
	if err := all.Put(ctx, "tides", Note{Title: "Tides"}); err != nil {
		return err
	}
	if err := notes.SyncOnce(ctx); err != nil { // all links, now
		return err
	}
	st, err := notes.SyncStatus(ctx) // FollowSync yields it whenever it is another one
	if err != nil {
		return err
	}
	fmt.Printf("online: %t, pending: %d\n", st.Online, st.Pending)

	notes.SetMetered(true) // from here on only what is asked for
	if err := all.Put(ctx, "moon", Note{Title: "The moon"}); err != nil {
		return err
	}
	if st, err = notes.SyncStatus(ctx); err != nil {
		return err
	}
	fmt.Printf("metered: %t, pending: %d\n", st.Metered, st.Pending)
	return nil
}
