package crdt

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Edit is a change in the making. Its operations apply to the history at once,
// so that later ones build on earlier ones. An Edit that fails, or is not
// committed after anything was changed, leaves a history that its owner has to
// drop; and nothing else may be done to the history before Commit.
type Edit struct {
	h      *History
	view   *View
	c      *Change
	node   uint32
	begun  bool // the change is in the history, with the operations so far
	done   bool // it was committed
	deps   []uint32
	others []uint32 // local indexes of the actors that c.actors[1:] name
	preds  []Ref    // the operations' predecessors, one after the other
	ids    []opID   // scratch
	exact  bool     // integers of the same worth but another type differ

	message string // of an undo: what Commit writes instead of its argument
}

// ErrEdit is wrapped by every error of an Edit that is due to what was asked
// for: a path that leads nowhere, an index out of range, a value of a type that
// no record holds.
var ErrEdit = errors.New("cannot edit")

func editError(p Path, format string, args ...any) error {
	at := "the record"
	if len(p) > 0 {
		at = p.String()
	}
	return fmt.Errorf("%w %s: %s", ErrEdit, at, fmt.Sprintf(format, args...))
}

// Begin starts a change by actor with the given time in milliseconds since 1970
// (a value within 1e11 of 0 would be read back as seconds). The view decides
// which candidate of a conflict an edit works on; nil is automerge.
func (h *History) Begin(actor ActorID, timeMS int64, v *View) *Edit {
	c := &Change{
		actors:  []ActorID{actor},
		seq:     h.Seq(actor) + 1,
		startOp: uint64(h.maxOp) + 1,
		time:    timeMS,
	}
	return &Edit{h: h, view: v, c: c}
}

// Len returns how many operations the change has so far.
func (e *Edit) Len() int { return len(e.c.ops) }

// Commit encodes the change and makes it the history's only head. Without any
// edit, or with edits that changed nothing, both results are nil. The message of
// an undo or redo says what it undoes, whatever is given here. Errors: a
// change beyond the bounds of change.go, or a message of invalid UTF-8.
func (e *Edit) Commit(message string) (*Change, error) {
	if !e.begun || e.done {
		return nil, nil
	}
	if !utf8.ValidString(message) {
		return nil, fmt.Errorf("%w: the message is invalid UTF-8", ErrEdit)
	}
	c := e.c
	if c.message = message; e.message != "" {
		c.message = e.message
	}
	c.deps = e.h.Heads()
	e.sortActors()
	if cap(c.ops) > len(c.ops)+len(c.ops)/4 {
		c.ops = slices.Clone(c.ops)
	}
	if err := c.encode(); err != nil {
		return nil, err
	}
	e.h.seal(e.node, e.deps)
	e.done = true
	return c, nil
}

// begin puts the change into the history, before its first operation.
func (e *Edit) begin() {
	h := e.h
	e.deps = slices.Clone(h.heads)
	p, maxOp, size := h.pastOf(e.deps, noActor) // they are all heads: who the author is does not matter
	e.node = h.enter(e.c, p, maxOp, size)
	e.begun = true
}

// emit appends an operation and applies it. o's Obj, Elem and Pred are filled in
// from the IDs; preds may be in any order.
func (e *Edit) emit(obj *object, o Op, elem opID, preds []opID) (opID, error) {
	if e.done {
		return opID{}, fmt.Errorf("%w: it was committed", ErrEdit)
	}
	if !e.begun {
		e.begin()
	}
	c := e.c
	if len(c.ops) >= MaxOps {
		return opID{}, invalid(CodeSize, "more than %d operations", MaxOps)
	}
	if makes(o.Action) && int(obj.depth)+1 >= MaxDepth {
		return opID{}, fmt.Errorf("%w: more than %d objects within each other", ErrEdit, MaxDepth)
	}
	o.Obj, o.Elem = e.ref(obj.id), e.ref(elem)
	if len(preds) > 1 {
		slices.SortFunc(preds, e.h.compare)
	}
	from := len(e.preds)
	for _, p := range preds {
		e.preds = append(e.preds, e.ref(p))
	}
	if o.Pred = nil; len(preds) > 0 {
		o.Pred = e.preds[from:len(e.preds):len(e.preds)]
	}
	id := opID{ctr: uint32(c.MaxOp()) + 1, node: e.node}
	c.ops = append(c.ops, o)
	e.h.apply(obj, &c.ops[len(c.ops)-1], id, elem, preds)
	return id, nil
}

// ref returns the form of an ID that the change stores.
func (e *Edit) ref(id opID) Ref {
	if id.ctr == 0 {
		return Ref{}
	}
	actor := e.h.nodes[id.node].actor
	if actor == e.h.nodes[e.node].actor {
		return Ref{Counter: id.ctr}
	}
	i := slices.Index(e.others, actor)
	if i < 0 {
		i = len(e.others)
		e.others = append(e.others, actor)
		e.c.actors = append(e.c.actors, e.h.actors[actor].id)
	}
	return Ref{Actor: uint32(i) + 1, Counter: id.ctr}
}

// sortActors brings the actors behind the author into ascending order.
func (e *Edit) sortActors() {
	c := e.c
	if slices.IsSorted(c.actors[1:]) {
		return
	}
	order := make([]uint32, len(c.actors)) // new index to old
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order[1:], func(a, b uint32) int {
		return strings.Compare(string(c.actors[a]), string(c.actors[b]))
	})
	actors := make([]ActorID, len(order))
	index := make([]uint32, len(order)) // old to new
	for i, old := range order {
		actors[i] = c.actors[old]
		index[old] = uint32(i)
	}
	c.actors = actors
	for i := range c.ops {
		o := &c.ops[i]
		o.Obj.Actor = index[o.Obj.Actor]
		o.Elem.Actor = index[o.Elem.Actor]
		for k := range o.Pred {
			o.Pred[k].Actor = index[o.Pred[k].Actor]
		}
	}
}

// target is a slot that can be written: a key of a map, or an element.
type target struct {
	path  Path // for errors
	obj   *object
	key   string
	elem  opID // zero in a map
	scope scope
}

// slot returns the target's slot, nil for a key that was never written.
func (e *Edit) slot(t *target) *slot {
	if t.elem.ctr == 0 {
		return t.obj.fields.get(t.key)
	}
	leaf, i := t.obj.seq.locate(t.elem)
	return &leaf.elems[i].slot
}

// shown returns what the view shows of a target.
func (e *Edit) shown(t *target) outcome {
	if s := e.slot(t); s != nil {
		return e.h.show(place{obj: t.obj, key: t.key, elem: t.elem, slot: s}, t.scope)
	}
	return outcome{}
}

// candidates returns all of a target's visible operations, in scratch space.
func (e *Edit) candidates(t *target) []opID {
	e.ids = e.ids[:0]
	if s := e.slot(t); s != nil {
		for id := range s.all {
			e.ids = append(e.ids, id)
		}
	}
	return e.ids
}

// write emits an operation on a target with the given predecessors.
func (e *Edit) write(t *target, o Op, preds []opID) (opID, error) {
	if t.elem.ctr == 0 {
		o.InMap, o.Key = true, t.key
	}
	return e.emit(t.obj, o, t.elem, preds)
}

// settle deletes all candidates but one. Where nothing else is visible, a rival
// deletion is settled by deleting once more what it deleted, a hidden candidate by
// deleting it once more: the change that does so has seen it, and keeps what there
// is. So an object that is kept stays the same one.
func (e *Edit) settle(t *target, keep opID) error {
	losers := slices.DeleteFunc(e.candidates(t), func(id opID) bool { return id == keep })
	if len(losers) == 0 {
		losers = e.gone(t)
	}
	if len(losers) == 0 {
		return nil
	}
	_, err := e.write(t, Op{Action: Del}, losers)
	return err
}

// gone returns a target's hidden candidates, and what its concurrent deletions have
// deleted.
func (e *Edit) gone(t *target) (ids []opID) {
	add := func(id opID) {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	s := e.slot(t)
	if s == nil {
		return nil
	}
	for _, c := range e.h.unseenAt(place{obj: t.obj, key: t.key, elem: t.elem, slot: s}) {
		if !c.deleted {
			add(c.id)
			continue
		}
		for _, r := range e.h.op(c.id).Pred {
			if id := e.h.resolveRef(c.id.node, r); e.h.op(id).Action != Increment {
				add(id)
			}
		}
	}
	return ids
}

// revive writes a hidden candidate once more, in place of all others: what was
// overwritten cannot become visible again. It returns the copy.
func (e *Edit) revive(t *target, id opID) (opID, error) {
	o := Op{}
	if t.elem.ctr == 0 {
		o.InMap, o.Key = true, t.key
	}
	return e.copy(t.obj, o, t.elem, e.candidates(t), id, t.scope)
}

// find follows a path through what the view shows. The last step is not looked
// up in a map; an index must exist. With create, maps that are missing on the
// way are made.
func (e *Edit) find(p Path, create bool) (target, error) {
	t := target{path: p, obj: e.h.root, scope: e.view.top()}
	for i, s := range p {
		if err := e.enterStep(&t, p[:i+1], s); err != nil {
			return t, err
		}
		if i == len(p)-1 {
			break
		}
		id, err := e.enter(&t, p[:i+1], create)
		if err != nil {
			return t, err
		}
		obj := e.h.objects[id]
		if obj == nil {
			return t, editError(p[:i+1], "it is a single value, there is nothing in it")
		}
		t.obj = obj
	}
	return t, nil
}

// enter returns the candidate of a target in which an edit goes on.
func (e *Edit) enter(t *target, at Path, create bool) (opID, error) {
	o := e.shown(t)
	switch {
	case o.made():
		return e.materialise(t, o)
	case o.hidden:
		return e.revive(t, o.id)
	case o.valued: // what is edited in it may make a rival win: they go
		return o.id, e.settle(t, o.id)
	case o.shown:
		return o.id, nil
	case !create:
		return opID{}, editError(at, "there is no such field")
	}
	return e.write(t, Op{Action: MakeMap}, e.candidates(t))
}

// enterStep makes a step's slot, in t.obj, the target.
func (e *Edit) enterStep(t *target, at Path, s Step) error {
	switch {
	case !s.InList && t.obj.kind != MakeMap:
		return editError(at, "a list or text has no keys")
	case s.InList && t.obj.kind == MakeMap:
		return editError(at, "a map has no index")
	case s.InList && t.obj.kind == MakeText:
		return editError(at, "the characters of a text are edited with Splice")
	case !s.InList:
		if !utf8.ValidString(s.Key) {
			return editError(at, "the key is invalid UTF-8")
		}
		t.key, t.elem, t.scope = s.Key, opID{}, t.scope.key(s.Key)
		return nil
	}
	id, n := e.elementAt(t.obj, t.scope, s.Index)
	if id.ctr == 0 {
		return editError(at, "the list has %d elements", n)
	}
	t.key, t.elem, t.scope = "", id, t.scope.index(s.Index)
	return nil
}

// findObject follows a path to an object of the given kind.
func (e *Edit) findObject(p Path, kind Action, what string) (*object, scope, error) {
	t, err := e.find(p, false)
	if err != nil {
		return nil, scope{}, err
	}
	if len(p) > 0 {
		id, err := e.enter(&t, p, false)
		if err != nil {
			return nil, scope{}, err
		}
		t.obj = e.h.objects[id]
	}
	if t.obj == nil || t.obj.kind != kind {
		return nil, scope{}, editError(p, "it is no %s", what)
	}
	return t.obj, t.scope, nil
}
