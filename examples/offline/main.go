// Offline shows two replicas that edit the same records while apart, meet
// through a hub, converge to equal heads and show their conflicts under
// different views.
//
//	go run ./examples/offline
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
)

// countries are those of ISO 3166-1, from Debian's iso-codes (LGPL 2.1 or later).
//
//go:embed countries.json
var countries []byte

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "offline:", err)
		os.Exit(1)
	}
}

// story holds what the scenes share.
type story struct {
	dir      string
	hub      *replica.Hub
	handler  *httplink.Server
	server   *httptest.Server
	link     transport.Link
	ana, ben *replica.Replica
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "godwit-offline-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := &story{dir: dir}
	defer s.close()
	for _, scene := range []func(context.Context) error{
		s.open, s.together, s.apart, s.meet, s.views, s.restart,
	} {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) open(ctx context.Context) (err error) {
	if s.hub, err = replica.OpenHub(filepath.Join(s.dir, "hub"), nil); err != nil {
		return err
	}
	s.handler = httplink.Handler(&httplink.ServerOptions{Accept: s.hub.Accept})
	s.server = httptest.NewServer(s.handler)
	if s.link, err = httplink.New(s.server.URL+"/spaces/atlas", nil); err != nil {
		return err
	}
	if s.ana, err = replica.Open(ctx, filepath.Join(s.dir, "ana.db"), nil); err != nil {
		return err
	}
	s.ben, err = replica.Open(ctx, filepath.Join(s.dir, "ben.db"), nil)
	return err
}

func (s *story) close() {
	for _, r := range []*replica.Replica{s.ana, s.ben} {
		if r != nil {
			r.Close()
		}
	}
	if s.server != nil {
		s.handler.Close(context.Background())
		s.server.Close()
	}
	if s.hub != nil {
		s.hub.Close()
	}
}

func key(id string) crdt.Key { return crdt.Key{Collection: "countries", ID: id} }

// together: one imports, both end up with everything.
func (s *story) together(ctx context.Context) error {
	scene(1, "Ana and Ben at the pier, the hub in reach")
	var list []map[string]any
	if err := json.Unmarshal(countries, &list); err != nil {
		return err
	}
	start := time.Now()
	err := s.ana.Update(ctx, func(tx *replica.Tx) error {
		for _, c := range list {
			if err := tx.Put(key(c["alpha_2"].(string)), c); err != nil {
				return err
			}
		}
		return tx.Edit(key("IS"), func(e *crdt.Edit) error {
			return e.Put(nil, map[string]any{
				"note":   crdt.Text("An island of fire."),
				"visits": crdt.Counter(10),
			}, crdt.Merge)
		})
	})
	if err != nil {
		return err
	}
	say("Ana imports %d countries: one change set, durable after %v", len(list), time.Since(start).Round(time.Millisecond))
	if err := s.sync(ctx, "Ana", s.ana); err != nil {
		return err
	}
	return s.sync(ctx, "Ben", s.ben)
}

func (s *story) sync(ctx context.Context, who string, r *replica.Replica) error {
	start := time.Now()
	n, err := r.Sync(ctx, s.link)
	if err != nil {
		return err
	}
	say("%s syncs: %d changes up, %d down, %s, %v", who, n.ChangesSent, n.ChangesReceived,
		size(n.BytesSent+n.BytesReceived), time.Since(start).Round(time.Millisecond))
	return nil
}

// edit is one line of the scene in which they are apart.
type edit struct {
	who  string
	r    *replica.Replica
	what string
	do   func(tx *replica.Tx) error
}

// apart: both edit, partly the same, and nobody is reachable.
func (s *story) apart(ctx context.Context) error {
	scene(2, "Eleven days out of reach of anything")
	edits := []edit{
		{"Ana", s.ana, `calls Côte d'Ivoire "Ivory Coast"`, put("CI", map[string]any{"common_name": "Ivory Coast"})},
		{"Ben", s.ben, `calls it "Costa de Marfil"`, put("CI", map[string]any{"common_name": "Costa de Marfil"})},
		{"Ana", s.ana, `adds Aruba's capital`, put("AW", map[string]any{"capital": "Oranjestad"})},
		{"Ben", s.ben, `deletes Aruba`, func(tx *replica.Tx) error { return tx.Delete(key("AW")) }},
		{"Ana", s.ana, `writes " and ice" into Iceland's note`, splice("IS", 17, " and ice")},
		{"Ben", s.ben, `puts "Iceland: " before the same note`, splice("IS", 0, "Iceland: ")},
		{"Ana", s.ana, `counts 3 visits to Iceland`, count("IS", 3)},
		{"Ben", s.ben, `counts 4 visits to Iceland`, count("IS", 4)},
	}
	for _, e := range edits {
		if err := e.r.Update(ctx, e.do); err != nil {
			return err
		}
		say("%s %s", e.who, e.what)
	}
	return nil
}

func put(id string, v map[string]any) func(*replica.Tx) error {
	return func(tx *replica.Tx) error { return tx.Put(key(id), v) }
}

func splice(id string, at int, text string) func(*replica.Tx) error {
	return func(tx *replica.Tx) error {
		return tx.Edit(key(id), func(e *crdt.Edit) error { return e.Splice(crdt.Path{{Key: "note"}}, at, 0, text) })
	}
}

func count(id string, n int64) func(*replica.Tx) error {
	return func(tx *replica.Tx) error {
		return tx.Edit(key(id), func(e *crdt.Edit) error { return e.Increment(crdt.Path{{Key: "visits"}}, n) })
	}
}

// meet: they converge.
func (s *story) meet(ctx context.Context) error {
	scene(3, "The hub is in reach again")
	for _, who := range []struct {
		name string
		r    *replica.Replica
	}{{"Ana", s.ana}, {"Ben", s.ben}, {"Ana", s.ana}} {
		if err := s.sync(ctx, who.name, who.r); err != nil {
			return err
		}
	}
	return s.compare(ctx)
}

// compare holds every record's heads of both against the hub's.
func (s *story) compare(ctx context.Context) error {
	return s.hub.With(ctx, "atlas", func(hub *replica.Replica) error {
		n := 0
		for it, err := range hub.List(ctx, "countries", 0) {
			if err != nil {
				return err
			}
			want, err := hub.Heads(ctx, it.Key)
			if err != nil {
				return err
			}
			for _, r := range []*replica.Replica{s.ana, s.ben} {
				got, err := r.Heads(ctx, it.Key)
				if err != nil {
					return err
				}
				if !got.Equal(want) {
					return fmt.Errorf("%v differs: %v here, %v at the hub", it.Key, got, want)
				}
			}
			n++
		}
		say("all %d records have equal heads on Ana's replica, Ben's and the hub", n)
		return nil
	})
}

// views: one history, shown in several ways.
func (s *story) views(ctx context.Context) error {
	scene(4, "One history, shown as each view wants it")
	for c, err := range s.ana.Conflicts(ctx, "countries") {
		if err != nil {
			return err
		}
		var values []string
		for _, cand := range c.Candidates {
			values = append(values, fmt.Sprintf("%v", cand.Value))
		}
		say("conflict at %v, field %v: %s", c.Key, c.Path, strings.Join(values, " | "))
	}
	fmt.Printf("\n     %-10s %-22s %s\n", "view", "Ana sees", "Ben sees")
	for _, resolver := range []string{"lww", "local", "remote"} {
		fmt.Printf("     %-10s", resolver)
		for _, r := range []*replica.Replica{s.ana, s.ben} {
			v, err := r.View(ctx, key("CI"), crdt.Policy{Default: resolver})
			if err != nil {
				return err
			}
			fmt.Printf(" %-22s", field(v, "common_name"))
		}
		fmt.Println()
	}
	fmt.Println()
	for _, id := range []string{"IS", "AW"} {
		v, err := s.ben.Get(ctx, key(id))
		if err != nil {
			return err
		}
		say("%s is now %s", id, v)
	}
	return nil
}

func field(v json.RawMessage, name string) any {
	var m map[string]any
	if json.Unmarshal(v, &m) != nil {
		return "?"
	}
	return m[name]
}

// restart: the same from the files.
func (s *story) restart(ctx context.Context) error {
	scene(5, "Both restart: the same from the files")
	before, err := s.ana.Get(ctx, key("CI"))
	if err != nil {
		return err
	}
	for _, r := range []**replica.Replica{&s.ana, &s.ben} {
		path := (*r).Path()
		if err := (*r).Close(); err != nil {
			return err
		}
		if *r, err = replica.Open(ctx, path, nil); err != nil {
			return err
		}
	}
	if err := s.compare(ctx); err != nil {
		return err
	}
	after, err := s.ana.Get(ctx, key("CI"))
	if err != nil {
		return err
	}
	if string(before) != string(after) {
		return fmt.Errorf("CI was %s, is %s", before, after)
	}
	problems := 0
	if err := s.ana.Check(ctx, func(replica.Problem) { problems++ }); err != nil {
		return err
	}
	say("Ana's file checks clean: %d problems", problems)
	return nil
}

func scene(n int, title string) { fmt.Printf("\n %d.  %s\n", n, title) }

func say(format string, args ...any) { fmt.Printf("     "+format+"\n", args...) }

func size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f KB", float64(n)/1024)
}
