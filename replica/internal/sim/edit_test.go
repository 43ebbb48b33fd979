package sim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing/synctest"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// script is what one Update is to do. It has its own source of chance, so that
// several can run at once.
type script struct {
	rng   *rand.Rand
	name  string // the message of its changes, unlike any other
	n     int64  // the number in name
	keys  []crdt.Key
	set   bool // also writes members that tell whether the set is whole
	big   bool
	abort bool
	wrote []crdt.Key        // keys that must have got a change
	shows map[crdt.Key]bool // records that it did not delete, which show its name
	at    crdt.LSN          // of its last change
	gate  <-chan struct{}   // to be waited for within the update, unless nil
}

func (s *script) String() string {
	return fmt.Sprintf("%s on %v (set: %v, big: %v)", s.name, s.keys, s.set, s.big)
}

// randomEdits draws an update of 1 to 4 records.
func (n *node) randomEdits() *script {
	w := n.w
	w.model.updates++
	s := &script{shows: map[crdt.Key]bool{}, rng: rand.New(rand.NewPCG(w.rng.Uint64(), 0)), n: int64(w.model.updates), name: fmt.Sprintf("%s-%d", n, w.model.updates)}
	for range 1 + w.rng.IntN(2)*w.rng.IntN(4) {
		k := crdt.Key{Collection: pick(w.rng, collections()), ID: idOf(w.rng)}
		s.keys = append(s.keys, k)
		w.model.keys[k] = true
	}
	s.set = w.chance(33)
	return s
}

// idOf draws a record's id: few, so that all write to the same.
func idOf(rng *rand.Rand) string { return fmt.Sprint(rng.IntN(4)) }

func (w *world) edit() {
	n := pick(w.rng, w.nodes)
	s := n.randomEdits()
	if w.big && w.chance(20) {
		w.big, s.big = false, true
	}
	n.update(s)
}

// burst runs several updates at once, which then share transactions.
func (w *world) burst() {
	n := pick(w.rng, w.nodes)
	var all []*script
	for range 2 + w.rng.IntN(4) {
		s := n.randomEdits()
		s.abort = w.chance(25)
		all = append(all, s)
	}
	w.note("%s at once:", n)
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	gate := make(chan struct{})
	for i, s := range all {
		w.note("    %v", s)
		if i == 0 {
			s.gate = gate
		}
		wg.Go(func() { errs[i] = n.apply(s) })
		if !w.plan.loose { // they queue up in this order behind the first one
			synctest.Wait()
		}
	}
	close(gate)
	wg.Wait()
	for i, s := range all {
		n.record(s, errs[i])
	}
}

// abort runs an update that fails in the end and must leave no trace.
func (w *world) abort() {
	n := pick(w.rng, w.nodes)
	s := n.randomEdits()
	s.abort = true
	n.update(s)
}

func (n *node) update(s *script) {
	n.w.note("%s updates: %v", n, s)
	n.record(s, n.apply(s))
	if s.abort || n.w.plan.loose || n.fuse.blown() {
		return
	}
	for k, shows := range s.shows { // whatever the clocks and policies are: it knew all that it replaces
		if value, err := n.r.Get(context.Background(), k); shows && !bytes.Contains(value, []byte(`"last":"`+s.name+`"`)) {
			failf("%s: an acknowledged update is not shown: %s has %s, not %s (%v)", n, k, value, s.name, err)
		}
	}
}

var errAbort = errors.New("changed my mind")

func (n *node) apply(s *script) (err error) {
	s.at, err = n.r.UpdateLSN(context.Background(), func(tx *replica.Tx) error {
		if s.gate != nil {
			<-s.gate
		}
		tx.SetMessage(s.name)
		for _, k := range s.keys {
			if err := s.editRecord(tx, k); err != nil {
				return err
			}
		}
		if s.set || s.big {
			if err := s.mark(tx); err != nil {
				return err
			}
		}
		if s.abort {
			return errAbort
		}
		return nil
	})
	return err
}

// record tells the model what was acknowledged.
func (n *node) record(s *script, err error) {
	if s.abort {
		if !errors.Is(err, errAbort) {
			failf("%s: aborted update %s gave %v", n, s.name, err)
		}
		n.w.model.aborted[s.name] = true
		return
	}
	if n.fuse.blown() { // nobody was told
		return
	}
	need(err, "%s updates %s", n, s.name)
	a := &acked{name: s.name}
	logged := map[crdt.Key]crdt.Hash{}
	for _, row := range n.readLog(s.at-crdt.LSN(len(s.wrote))-64, s.at) { // what was hidden may be logged anew with it
		if len(row.Data) == 0 { // an earlier one, of a snapshot or forgotten
			continue
		}
		c, err := crdt.ParseChange(row.Data)
		need(err, "%s: change %d of acknowledged update %s", n, row.LSN, s.name)
		if c.Message() == s.name {
			logged[row.Key], n.actor = row.Hash, c.Actor()
		}
	}
	for _, k := range s.wrote {
		n.w.model.keys[k] = true
		h, ok := logged[k]
		if !ok && n.hides(k) {
			continue
		}
		if !ok {
			failf("%s: update %s was acknowledged and has no change in %s", n, s.name, k)
		}
		a.members = append(a.members, member{k, h})
	}
	n.w.model.acks = append(n.w.model.acks, a)
}

// mark writes the records that tell whether the set is whole.
func (s *script) mark(tx *replica.Tx) error {
	of := 2 + s.rng.IntN(3)
	for i := range of {
		k := crdt.Key{Collection: fmt.Sprint(setsPrefix, s.n/setsPerCollection), ID: fmt.Sprintf("%d.%d.%d", s.n, i, of)}
		v := map[string]any{"n": s.n}
		if s.big {
			v["blob"] = strings.Repeat(fmt.Sprint(s.rng.Uint64()), 30_000)
		}
		if err := tx.Put(k, v); err != nil {
			return err
		}
		s.wrote = append(s.wrote, k)
	}
	return nil
}

// doc is what the records of the simulation look like.
type doc struct {
	Body *string
	List []any
	Nest map[string]any
	N    *int64
}

// editRecord makes 1 to 3 edits of a record, or deletes it.
func (s *script) editRecord(tx *replica.Tx, k crdt.Key) error {
	_, err := tx.Get(k)
	if errors.Is(err, replica.ErrForgotten) || errors.Is(err, replica.ErrPurged) {
		return nil
	}
	if errors.Is(err, replica.ErrNotFound) {
		if err := s.create(tx, k); errors.Is(err, replica.ErrPurged) {
			delete(s.shows, k)
			return nil
		} else if err != nil {
			return err
		}
		s.wrote = append(s.wrote, k)
		return nil
	}
	s.wrote = append(s.wrote, k)
	if s.rng.IntN(12) == 0 {
		s.shows[k] = false
		return tx.Delete(k)
	}
	for range 1 + s.rng.IntN(3) {
		text, err := tx.Get(k)
		if err != nil {
			return err
		}
		var d doc
		if err := json.Unmarshal(text, &d); err != nil {
			return fmt.Errorf("value of %s: %w", k, err)
		}
		if err := tx.Edit(k, func(e *crdt.Edit) error { return s.editField(e, &d) }); err != nil {
			return fmt.Errorf("%w, the record being %s", err, text)
		}
	}
	s.shows[k] = true
	return tx.Put(k, map[string]any{"last": s.name})
}

func (s *script) create(tx *replica.Tx, k crdt.Key) error {
	s.shows[k] = true
	v := map[string]any{"f0": s.n, "f1": s.word(), "last": s.name}
	if s.rng.IntN(4) > 0 {
		v["body"], v["n"] = crdt.Text(s.word()), crdt.Counter(s.n)
		v["list"], v["nest"] = []any{s.word()}, map[string]any{"a": s.n}
	}
	return tx.Put(k, v)
}

// editField makes one edit that never comes to nothing.
func (s *script) editField(e *crdt.Edit, d *doc) error {
	at := func(steps ...crdt.Step) crdt.Path { return steps }
	body, list, nest := crdt.Step{Key: "body"}, crdt.Step{Key: "list"}, crdt.Step{Key: "nest"}
	switch d2 := s.rng.IntN(10); {
	case d2 == 0 && d.Body != nil:
		size := len([]rune(*d.Body))
		pos := s.rng.IntN(size + 1)
		return e.Splice(at(body), pos, s.rng.IntN(min(size-pos, 5)+1), s.word())
	case d2 == 1 && d.List != nil:
		return e.Insert(at(list), s.rng.IntN(len(d.List)+1), s.word())
	case d2 == 2 && len(d.List) > 0:
		return e.Delete(at(list, crdt.Step{Index: s.rng.IntN(len(d.List)), InList: true}))
	case d2 == 3 && len(d.List) > 0:
		return e.Put(at(list, crdt.Step{Index: s.rng.IntN(len(d.List)), InList: true}), s.word(), crdt.Merge)
	case d2 == 4 && d.Nest != nil:
		key := pick(s.rng, []string{"a", "b", "c"})
		if _, ok := d.Nest[key]; ok && s.rng.IntN(3) == 0 {
			return e.Delete(at(nest, crdt.Step{Key: key}))
		}
		return e.Put(at(nest, crdt.Step{Key: key}), map[string]any{"deep": s.word()}, crdt.Replace)
	case d2 == 5 && d.N != nil:
		return e.Increment(at(crdt.Step{Key: "n"}), int64(s.rng.IntN(100)+1))
	case d2 == 6: // concurrent creation, and what was deleted
		return e.Put(nil, map[string]any{"body": crdt.Text(s.word()), "list": []any{s.word(), s.n},
			"nest": map[string]any{"a": s.word()}, "n": crdt.Counter(s.rng.Int64N(1e9))}, crdt.Merge)
	default:
		key := fmt.Sprint("f", s.rng.IntN(4))
		return e.Put(at(crdt.Step{Key: key}), pick(s.rng, []any{s.word(), s.rng.Int64N(1e9), s.rng.Float64(), map[string]any{"x": s.word()}}), crdt.Replace)
	}
}

// word returns a string unlike any other.
func (s *script) word() string { return fmt.Sprintf("%d·%x", s.n, s.rng.Uint32()) }
