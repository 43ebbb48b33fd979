package crdt

import (
	"maps"
	"slices"
)

// Move gives the element at index from of the list at p the index to; both are
// below the list's length.
//
// Automerge has no operation that moves. This deletes the element, all its
// candidates, and inserts a copy of what the view shows, with all that is in it:
// maps, lists, texts with their blocks, marks and counters. So
//
//   - two replicas that move the same element at the same time leave two copies,
//   - what others edit in the element at the same time stays with the deleted one,
//     as a hidden candidate of a conflict,
//   - anchors in the element, or in what it contains, stay where it was, and a
//     copied mark expands behind, however it did before.
//
// Where that matters, keep the order as a field of the elements, or as a list of
// keys into a map, which loses an edit of the order at worst.
func (e *Edit) Move(p Path, from, to int) error {
	if err := e.adopt(); err != nil {
		return err
	}
	obj, sc, err := e.findObject(p, MakeList, "list")
	if err != nil {
		return err
	}
	elem, n := e.elementAt(obj, sc, from)
	if from < 0 || from >= n || to < 0 || to >= n {
		return editError(p, "cannot move %d to %d, the list has %d elements", from, to, n)
	}
	if from == to {
		return nil
	}
	t := target{obj: obj, elem: elem, scope: sc.index(from)}
	id, err := e.enter(&t, p, false)
	if err != nil {
		return err
	}
	if err := e.remove(&t); err != nil {
		return err
	}
	ref, _ := e.elementAt(obj, sc, to-1)
	_, err = e.copy(obj, Op{Insert: true}, ref, nil, id, t.scope)
	return err
}

// copyShown writes what a view shows once more; o says where.
func (e *Edit) copyShown(obj *object, o Op, elem opID, shown outcome, sc scope) (opID, error) {
	if shown.made() {
		return e.create(obj, o, elem, nil, shown.value)
	}
	return e.copy(obj, o, elem, nil, shown.id, sc)
}

// copy writes what an operation set or made once more; o says where, preds what it
// overwrites.
func (e *Edit) copy(obj *object, o Op, elem opID, preds []opID, from opID, sc scope) (opID, error) {
	old := e.h.op(from)
	o.Action, o.Value = old.Action, e.h.scalar(from, old)
	id, err := e.emit(obj, o, elem, preds)
	if err != nil || old.Action == Set {
		return id, err
	}
	source, made := e.h.objects[from], e.h.objects[id]
	switch source.kind {
	case MakeMap:
		return id, e.copyFields(made, source, sc)
	case MakeText:
		return id, e.copyText(made, source, sc)
	}
	return id, e.copyElements(made, source, sc)
}

func (e *Edit) copyFields(made, source *object, sc scope) error {
	for f := range source.fields.all {
		in := sc.key(f.key)
		shown := e.h.show(place{obj: source, key: f.key, slot: &f.slot}, in)
		if !shown.shown {
			continue
		}
		if _, err := e.copyShown(made, Op{InMap: true, Key: f.key}, opID{}, shown, in); err != nil {
			return err
		}
	}
	return nil
}

func (e *Edit) copyElements(made, source *object, sc scope) (err error) {
	ref, n := opID{}, 0
	for el := range source.seq.all {
		in, shown := sc.index(n), outcome{shown: !el.slot.empty(), id: el.slot.first}
		if !source.seq.text { // characters show alike in every view
			shown = e.h.show(place{obj: source, elem: el.id, slot: &el.slot}, in)
		}
		if !shown.shown {
			continue
		}
		if ref, err = e.copyShown(made, Op{Insert: true}, ref, shown, in); err != nil {
			return err
		}
		n++
	}
	return nil
}

func (e *Edit) copyText(made, source *object, sc scope) error {
	if err := e.copyElements(made, source, sc); err != nil || source.seq.root.marks == 0 {
		return err
	}
	marks := e.h.marksOf(source.seq)
	for _, name := range slices.Sorted(maps.Keys(marks)) {
		for _, r := range marks[name] {
			if err := e.mark(made, name, r, ExpandAfter); err != nil {
				return err
			}
		}
	}
	return nil
}
