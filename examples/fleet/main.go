// Fleet shows three hubs and twenty replicas that share one space, eleven of them
// over HTTP and nine over NATS: a hub is killed, the network is parted and
// healed, everybody edits all the time, and in the end each replica proves by
// reconciliation that it holds what the others hold.
//
//	go run ./examples/fleet
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport/httplink"
)

const (
	overHTTP = 11
	overNATS = 9
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

// story holds what the scenes share.
type story struct {
	out     io.Writer
	dir     string
	nats    *server.Server
	hubs    []*hub
	all     []*member
	changes int64 // authored so far, by everybody
}

func run(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "godwit-fleet-")
	if err != nil {
		return err
	}
	s := &story{out: out, dir: dir}
	defer func() { err = errors.Join(err, s.close(), os.RemoveAll(dir)) }()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	start := time.Now()
	for _, scene := range []func(context.Context) error{s.gather, s.kill, s.part, s.heal, s.prove} {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	s.say("the whole story took %.1f s", time.Since(start).Seconds())
	return nil
}

// gather starts everything.
func (s *story) gather(ctx context.Context) (err error) {
	s.scene(1, "A NATS server, three hubs, twenty replicas")
	if s.nats, err = startNATS(filepath.Join(s.dir, "nats")); err != nil {
		return err
	}
	for i := range 3 {
		h, err := startHub(fmt.Sprintf("hub%d", i+1), s.dir, s.nats.ClientURL())
		if err != nil {
			return err
		}
		s.hubs = append(s.hubs, h)
	}
	for i := range overHTTP + overNATS {
		m, err := openMember(ctx, fmt.Sprintf("r%02d", i+1), s.dir)
		if err != nil {
			return err
		}
		s.all = append(s.all, m)
		if i < overHTTP {
			err = m.dial(s.hubs[i%3])
		} else {
			err = m.join(s.nats.ClientURL())
		}
		if err != nil {
			return err
		}
	}
	s.say("r01 to r%d come over HTTP, each to one hub; r%d to r%d over NATS; the hubs carry between them", overHTTP, overHTTP+1, overHTTP+overNATS)
	if err := s.edit(ctx, "first"); err != nil {
		return err
	}
	return s.settle(ctx)
}

// edit has everybody write a record of its own, a field of its own in a record that
// all share, and the same field as all others, which is a conflict.
func (s *story) edit(ctx context.Context, what string) error {
	for _, m := range s.all {
		err := m.r.Update(ctx, func(tx *replica.Tx) error {
			if err := tx.Put(key(m.name), map[string]any{what: true, "by": m.name}); err != nil {
				return err
			}
			if err := tx.Put(key("leader-"+what), map[string]any{"is": m.name}); err != nil {
				return err
			}
			return tx.Put(key("roll-"+what), map[string]any{m.name: true})
		})
		if err != nil {
			return err
		}
		s.changes += 3
	}
	s.say("all %d edit, three records each: one of its own, two that all others edit too", len(s.all))
	return nil
}

func key(id string) crdt.Key { return crdt.Key{Collection: "herd", ID: id} }

// settle waits until everybody holds all changes.
func (s *story) settle(ctx context.Context) error {
	start := time.Now()
	for _, m := range s.all {
		if err := s.await(ctx, m.name, m.r); err != nil {
			return err
		}
	}
	for _, h := range s.hubs {
		if err := h.hub.With(ctx, space, func(r *replica.Replica) error { return s.await(ctx, h.name, r) }); err != nil {
			return err
		}
	}
	s.say("%v later each of the %d replicas and %d hubs holds all %d changes", time.Since(start).Round(time.Millisecond), len(s.all), len(s.hubs), s.changes)
	return nil
}

// await waits until a replica holds all changes.
func (s *story) await(ctx context.Context, name string, r *replica.Replica) error {
	for {
		st, err := r.Status(ctx)
		if err != nil {
			return err
		}
		if st.Changes == s.changes {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s holds %d changes of %d: %w", name, st.Changes, s.changes, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// kill: a hub dies, and its replicas find another one.
func (s *story) kill(ctx context.Context) error {
	s.scene(2, "hub2 is killed while everybody edits")
	if err := s.edit(ctx, "second"); err != nil {
		return err
	}
	dead := s.hubs[1]
	if err := dead.kill(); err != nil {
		return err
	}
	s.hubs = []*hub{s.hubs[0], s.hubs[2]}
	moved := 0
	for i, m := range s.all[:overHTTP] {
		if i%3 == 1 {
			moved++
			if err := m.dial(s.hubs[i%2]); err != nil {
				return err
			}
		}
	}
	s.say("hub2 is gone without a word; its %d replicas go to the others with what it did not pass on", moved)
	return s.settle(ctx)
}

// part: a cable is cut.
func (s *story) part(ctx context.Context) error {
	s.scene(3, "The network parts: hub3 and half of those on NATS are cut off")
	s.hubs[1].cable.cut()
	for _, m := range s.cutOff() {
		m.cable.cut()
	}
	s.say("hub3 still serves its own over HTTP; %d replicas reach nobody at all", len(s.cutOff()))
	if err := s.edit(ctx, "third"); err != nil {
		return err
	}
	for _, m := range s.cutOff() {
		st, err := m.r.Status(ctx)
		if err != nil {
			return err
		}
		if st.Changes >= s.changes {
			return fmt.Errorf("%s is cut off and holds everything", m.name)
		}
	}
	s.say("who is cut off reads and writes as always, and lacks what the others do")
	return nil
}

// cutOff are the members that the partition leaves alone.
func (s *story) cutOff() []*member { return s.all[overHTTP+overNATS/2:] }

// heal: the cable is mended, and the dead hub comes back with its old file.
func (s *story) heal(ctx context.Context) error {
	s.scene(4, "The cable is mended, and hub2 is started again from its old file")
	s.hubs[1].cable.mend()
	for _, m := range s.cutOff() {
		m.cable.mend()
	}
	h, err := startHub("hub2", s.dir, s.nats.ClientURL())
	if err != nil {
		return err
	}
	s.hubs = append(s.hubs, h)
	return s.settle(ctx)
}

// prove has each replica compare itself with a hub, and the hubs with each other: by
// fingerprints of all records' heads, which are equal only if the histories are.
func (s *story) prove(ctx context.Context) error {
	s.scene(5, "Proof: everybody compares fingerprints of all histories")
	prints := map[string]int{}
	verify := func(name string, compare func() (replica.VerifyResult, error)) error {
		v, err := compare()
		if err != nil {
			return err
		}
		if !v.Equal() {
			return fmt.Errorf("%s differs from %v in %d records, as %v", name, v.Peer, v.Differing, v.Differences[0].Key)
		}
		prints[v.Fingerprint]++
		return nil
	}
	for _, m := range s.all {
		if err := verify(m.name, func() (replica.VerifyResult, error) { return m.r.Verify(ctx, m.link, nil) }); err != nil {
			return err
		}
	}
	for i, h := range s.hubs {
		link, err := httplink.New(s.hubs[(i+1)%len(s.hubs)].url, nil)
		if err != nil {
			return err
		}
		err = h.hub.With(ctx, space, func(r *replica.Replica) error {
			return verify(h.name, func() (replica.VerifyResult, error) { return r.Verify(ctx, link, nil) })
		})
		if err != nil {
			return err
		}
	}
	for print, n := range prints {
		s.say("fingerprint %s: %d of %d", print, n, len(s.all)+len(s.hubs))
	}
	if len(prints) != 1 {
		return fmt.Errorf("there are %d fingerprints", len(prints))
	}
	return s.show(ctx)
}

// show reads what everybody wrote at once.
func (s *story) show(ctx context.Context) error {
	leader, err := s.all[0].r.Get(ctx, key("leader-third"))
	if err != nil {
		return err
	}
	roll, err := s.all[len(s.all)-1].r.Get(ctx, key("roll-third"))
	if err != nil {
		return err
	}
	var names map[string]bool
	if err := json.Unmarshal(roll, &names); err != nil || len(names) != len(s.all) {
		return fmt.Errorf("the roll is %s: %v", roll, err)
	}
	s.say("all %d wrote who is leader, apart from each other: everybody now reads %s", len(s.all), leader)
	s.say("and all %d stand in the roll that each signed apart", len(names))
	return nil
}

func (s *story) close() error {
	var errs []error
	for _, m := range s.all {
		errs = append(errs, m.close())
	}
	for _, h := range s.hubs {
		errs = append(errs, h.close())
	}
	if s.nats != nil {
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
	}
	return errors.Join(errs...)
}

func (s *story) scene(n int, title string) { fmt.Fprintf(s.out, "\n %d.  %s\n", n, title) }

func (s *story) say(format string, args ...any) { fmt.Fprintf(s.out, "     "+format+"\n", args...) }
