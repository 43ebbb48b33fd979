package replica_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

// Sizes of a round.
const (
	mutantsPerFrame = 200
	framesPerGroup  = 4
	recordsPerGroup = 8
	groupsPerRound  = 10
)

// feedMutants is the child: round after round, each with a replica of its own.
func feedMutants(t *testing.T, dump string) {
	js := jsHistories(t)
	fed := 0
	for seed := *mutantsSeed; fed < *mutants; seed++ {
		var round tally
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			f := newFeeder(t, seed, js, dump)
			for range groupsPerRound {
				f.group()
			}
			f.finish()
			round = f.tally
		})
		require.True(t, ok)
		fed += round.Mutants
		line, err := json.Marshal(round)
		require.NoError(t, err)
		fmt.Printf("tally %s\n", line)
	}
}

// feeder is a peer that sends mutants.
type feeder struct {
	t      *testing.T
	rng    *rand.Rand
	js     [][]*crdt.Change
	dump   string
	r      *replica.Replica
	peer   *rawPeer
	frame  transport.Changes
	groups int
	tally  tally
}

func newFeeder(t *testing.T, seed uint64, js [][]*crdt.Change, dump string) *feeder {
	f := &feeder{t: t, rng: rand.New(rand.NewPCG(seed, 0)), js: js, dump: dump, tally: tally{Seed: seed, Codes: map[string]int{}}}
	f.r = open(t, &replica.Options{Synchronous: persist.Normal})
	net := network(t)
	serve(t, net, "r", f.r)
	f.dial(net)
	return f
}

func (f *feeder) dial(net *memlink.Network) {
	f.peer = dialRaw(f.t, net.Link("mutants", "r"))
	f.peer.shake()
}

// target is a record that mutants are aimed at.
type target struct {
	id     string
	mut    mutator
	source map[crdt.Hash]bool // what is no mutant
}

// group feeds a few records with a history and then with mutants of it, and
// holds what comes out against the core.
func (f *feeder) group() {
	var targets []*target
	for i := range recordsPerGroup {
		targets = append(targets, f.target(fmt.Sprint(f.groups, "-", i)))
	}
	f.groups++
	for range framesPerGroup {
		for _, g := range targets {
			if h, err := f.r.History(context.Background(), key(g.id)); err == nil {
				g.mut.see(h)
			} else {
				require.ErrorIs(f.t, err, replica.ErrNotFound)
				g.mut.see(crdt.NewHistory())
			}
		}
		for sent := 0; sent < mutantsPerFrame; {
			sent += f.queue(targets)
		}
		f.send()
	}
	for _, g := range targets {
		f.settle(g)
	}
}

// target makes a record and queues what it begins with: a part of a history.
func (f *feeder) target(id string) *target {
	rng := f.rng
	var changes []*crdt.Change
	if rng.IntN(4) == 0 {
		changes = f.js[rng.IntN(len(f.js))]
		changes = changes[:1+rng.IntN(min(len(changes), 30))]
	} else {
		changes = bothHistory(f.t, rng, 2+rng.IntN(14))
	}
	g := &target{id: id, source: map[crdt.Hash]bool{}, mut: mutator{rng: rng, sources: changes}}
	for i, c := range changes {
		g.source[c.Hash()] = true
		if i == 0 || i < len(changes)*2/3 && rng.IntN(8) > 0 { // gaps park what follows
			f.add(transport.Set{Members: []transport.Member{member(id, c)}})
		}
	}
	return g
}

// queue puts one set into the frame: mostly a mutant, sometimes several, one
// beside good changes, or a good one in the wrong place or order.
func (f *feeder) queue(targets []*target) int {
	rng := f.rng
	g := targets[rng.IntN(len(targets))]
	one := func(g *target) transport.Member {
		return transport.Member{Collection: "notes", ID: g.id, Data: g.mut.mutant()}
	}
	var set transport.Set
	switch n := rng.IntN(40); {
	case n == 0: // another record's change
		set.Members = append(set.Members, member(g.id, targets[rng.IntN(len(targets))].mut.base()))
	case n < 3: // what is missing, early or late
		f.add(transport.Set{Members: []transport.Member{member(g.id, g.mut.base())}})
		return 0
	case n < 6: // all or nothing
		for range 2 + rng.IntN(3) {
			g := targets[rng.IntN(len(targets))]
			set.Members = append(set.Members, one(g))
		}
	case n == 6:
		set.Members = append(set.Members, member(g.id, g.mut.base()), one(g))
	default:
		set.Members = append(set.Members, one(g))
	}
	f.add(set)
	f.tally.Mutants += len(set.Members)
	return len(set.Members)
}

func (f *feeder) add(set transport.Set) {
	f.frame.Sets = append(f.frame.Sets, set)
	if len(f.frame.Sets) >= mutantsPerFrame {
		f.send()
	}
}

// send sends the frame and waits for its ack.
func (f *feeder) send() {
	if len(f.frame.Sets) == 0 {
		return
	}
	f.frame.From = f.peer.at
	for _, set := range f.frame.Sets {
		f.peer.at.LSN += crdt.LSN(len(set.Members))
	}
	f.frame.Through = f.peer.at
	f.peer.send(&f.frame)
	f.frame = transport.Changes{}
	for {
		frame := f.peer.recv()
		if e, ok := frame.(*transport.Error); ok {
			require.NoError(f.t, e, "the session ended")
		}
		ack, ok := frame.(*transport.Ack)
		if !ok {
			continue
		}
		require.False(f.t, ack.Resend)
		for _, x := range ack.Exceptions {
			f.tally.Codes[x.Code]++
		}
		if ack.Through == f.peer.at { // else it counts a part of the frame
			return
		}
	}
}

// settle edits the record here, on top of what it got, and checks it.
func (f *feeder) settle(g *target) {
	ctx := context.Background()
	if f.rng.IntN(2) == 0 {
		put(f.t, f.r, g.id, `{"text":"edited here","list":[1,"two"],"map":{"x":null},"new":{"$counter":1}}`)
	}
	raw, err := f.r.Export(ctx, key(g.id))
	if err != nil {
		require.ErrorIs(f.t, err, replica.ErrNotFound)
		return
	}
	f.tally.Records++
	h, err := f.r.History(ctx, key(g.id))
	if err != nil {
		f.fail(&f.tally.Poisoned, g, raw, err)
		return
	}
	for c := range h.Changes() {
		if rid, _ := c.Actor().Replica(); !g.source[c.Hash()] && rid != f.r.ID() {
			f.tally.Accepted++
		}
	}
	require.NoError(f.t, os.WriteFile(f.dump, raw, 0o600))
	differs, err := f.judge(h, raw)
	if err == nil {
		differs, err = f.reorder(h)
	}
	if err != nil {
		count := &f.tally.Poisoned
		if differs {
			count = &f.tally.Differing
		}
		f.fail(count, g, raw, err)
	}
	if value, err := f.r.Get(ctx, key(g.id)); err == nil {
		require.Equal(f.t, jsonOf(f.t, h), string(value), "the stored value")
	}
}

// judge holds a history against what the core makes of its changes.
func (f *feeder) judge(h *crdt.History, raw []byte) (differs bool, err error) {
	doc := automerge.New()
	if err := doc.LoadIncremental(raw); err != nil {
		return false, fmt.Errorf("the core does not load it: %w", err)
	}
	if err := f.equal(h, doc); err != nil {
		return true, err
	}
	again, err := automerge.Load(doc.Save())
	if err != nil {
		return false, fmt.Errorf("the core does not load what it saved: %w", err)
	}
	if err := f.equal(h, again); err != nil {
		return true, fmt.Errorf("after a save: %w", err)
	}
	return false, nil
}

// reorder adds the record's changes in another order that their dependencies
// allow, here and in the core, as another replica might get them.
func (f *feeder) reorder(h *crdt.History) (differs bool, err error) {
	rest := slices.Collect(h.Changes())
	f.rng.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	again, raw := crdt.NewHistory(), []byte(nil)
	for len(rest) > 0 {
		n := len(rest)
		rest = slices.DeleteFunc(rest, func(c *crdt.Change) bool {
			_, e := again.Add(c)
			var park *crdt.ParkError
			if e != nil && !errors.As(e, &park) && err == nil {
				err = fmt.Errorf("in another order: change %x: %w", c.Raw(), e)
			}
			if e == nil {
				raw = append(raw, c.Raw()...)
			}
			return e == nil
		})
		if err == nil && len(rest) == n {
			err = errors.New("in another order it waits for itself")
		}
		if err != nil {
			return false, err
		}
	}
	if a, b := jsonOf(f.t, h), jsonOf(f.t, again); a != b || !h.Heads().Equal(again.Heads()) {
		return true, fmt.Errorf("in another order the value is %s, not %s", b, a)
	}
	require.NoError(f.t, os.WriteFile(f.dump, raw, 0o600))
	differs, err = f.judge(again, raw)
	if err != nil {
		err = fmt.Errorf("in another order: %w", err)
	}
	return differs, err
}

func (f *feeder) equal(h *crdt.History, doc *automerge.Doc) error {
	heads := crdt.Heads{}
	for _, x := range doc.Heads() {
		heads = append(heads, crdt.Hash(x))
	}
	slices.SortFunc(heads, crdt.Hash.Compare)
	if !h.Heads().Equal(heads) {
		return fmt.Errorf("heads are %v, the core has %v", h.Heads(), heads)
	}
	if here, core := jsonOf(f.t, h), coreJSON(f.t, doc); here != core {
		return fmt.Errorf("the value is %s, the core has %s", here, core)
	}
	return nil
}

// fail notes a failure, with the change that brought it about.
func (f *feeder) fail(count *int, g *target, raw []byte, err error) {
	*count++
	what := fmt.Sprintf("seed %d, record %s: %v", f.tally.Seed, g.id, err)
	h := crdt.NewHistory()
	for rest := raw; len(rest) > 0; {
		chunk, next, _ := crdt.NextChunk(rest)
		c, err := crdt.ParseChange(chunk)
		if err == nil {
			_, err = h.Add(c)
		}
		if err == nil {
			_, err = f.judge(h, raw[:len(raw)-len(next)])
		}
		if err != nil {
			what += fmt.Sprintf("\nfirst with change %x: %v\n", chunk, err)
			if c != nil {
				what += fmt.Sprintf("%+v", draftOf(c))
			}
			break
		}
		rest = next
	}
	keep := filepath.Join(os.TempDir(), fmt.Sprintf("godwit-mutants-%d-%s.changes", f.tally.Seed, g.id))
	if err := os.WriteFile(keep, raw, 0o600); err == nil {
		what += "\nthe record's changes are in " + keep
	}
	if len(f.tally.Failures) < 3 {
		f.tally.Failures = append(f.tally.Failures, what)
	}
}

func (f *feeder) finish() {
	require.NoError(f.t, f.r.Check(context.Background(), func(p replica.Problem) {
		f.tally.Problems++
		f.tally.Failures = append(f.tally.Failures, fmt.Sprintf("seed %d: check: %+v", f.tally.Seed, p))
	}))
}

func jsonOf(t testing.TB, h *crdt.History) string {
	out, err := h.AppendJSON(nil, nil)
	require.NoError(t, err)
	return string(out)
}

// coreJSON is the core's materialisation in our JSON.
func coreJSON(t testing.TB, d *automerge.Doc) string {
	out, err := crdt.AppendJSON(nil, coreValueOf(t, d.Root()))
	require.NoError(t, err)
	return string(bytes.TrimSpace(out))
}

// coreValueOf turns what the core shows into what History.Value gives.
func coreValueOf(t testing.TB, v *automerge.Value) any {
	switch v.Kind() {
	case automerge.KindNull:
		return nil
	case automerge.KindBool:
		return v.Bool()
	case automerge.KindInt64:
		return v.Int64()
	case automerge.KindUint64:
		return v.Uint64()
	case automerge.KindFloat64:
		return v.Float64()
	case automerge.KindStr:
		return v.Str()
	case automerge.KindBytes:
		return v.Bytes()
	case automerge.KindTime:
		return v.Time()
	case automerge.KindCounter:
		n, err := v.Counter().Get()
		require.NoError(t, err)
		return crdt.Counter(n)
	case automerge.KindText:
		s, err := v.Text().Get()
		require.NoError(t, err)
		return crdt.Text(s)
	case automerge.KindList:
		values, err := v.List().Values()
		require.NoError(t, err)
		list := make([]any, len(values))
		for i, x := range values {
			list[i] = coreValueOf(t, x)
		}
		return list
	case automerge.KindMap:
		values, err := v.Map().Values()
		require.NoError(t, err)
		m := map[string]any{}
		for k, x := range values {
			m[k] = coreValueOf(t, x)
		}
		return m
	}
	require.FailNow(t, "unknown kind", "%v", v.Kind())
	return nil
}
