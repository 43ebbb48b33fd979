package crdt

import "unicode/utf8"

// Delete removes the field or list element at p, all its candidates. A field
// that is not there is no error and changes nothing.
func (e *Edit) Delete(p Path) error {
	if len(p) == 0 {
		return e.Clear()
	}
	if err := e.adopt(); err != nil {
		return err
	}
	t, err := e.find(p, false)
	if err != nil {
		return err
	}
	return e.remove(&t)
}

// remove deletes what is visible at a target, or shown there.
func (e *Edit) remove(t *target) error {
	if preds := e.candidates(t); len(preds) > 0 {
		_, err := e.write(t, Op{Action: Del}, preds)
		return err
	}
	if !e.shown(t).shown {
		return nil
	}
	return e.removeHidden(t)
}

// removeHidden settles a conflict where nothing is visible on a deletion.
func (e *Edit) removeHidden(t *target) error {
	_, err := e.write(t, Op{Action: Del}, e.gone(t))
	return err
}

// Clear deletes all fields of the record, which deletes the record.
func (e *Edit) Clear() error {
	e.view = e.view.fields()
	return e.removeFields(e.h.root, e.view.top(), func(string) bool { return true })
}

// removeFields deletes the fields of a map whose key is selected.
func (e *Edit) removeFields(obj *object, sc scope, selected func(key string) bool) error {
	var keys []string
	for f := range obj.fields.all {
		if selected(f.key) {
			keys = append(keys, f.key)
		}
	}
	for _, k := range keys {
		if err := e.remove(&target{obj: obj, key: k, scope: sc.key(k)}); err != nil {
			return err
		}
	}
	return nil
}

// Increment adds to the counter that the view shows at p, of a sum to one of its
// counters. Its rivals, if there are any, stay, unless the view compares values.
func (e *Edit) Increment(p Path, by int64) error {
	if err := e.adopt(); err != nil {
		return err
	}
	t, err := e.find(p, false)
	if err != nil {
		return err
	}
	if len(p) == 0 {
		return editError(p, "it is no counter")
	}
	o := e.shown(&t)
	if _, sum := o.value.(Counter); sum && o.made() {
		o.id = e.slot(&t).first
	} else if o.hidden && e.h.isCounter(o.id) {
		if o.id, err = e.revive(&t, o.id); err != nil {
			return err
		}
	} else if o.valued && !o.made() {
		if err := e.settle(&t, o.id); err != nil {
			return err
		}
	}
	if o.id.ctr == 0 || !e.h.isCounter(o.id) {
		return editError(p, "it is no counter")
	}
	return e.increase(&t, o.id, by)
}

func (e *Edit) increase(t *target, id opID, by int64) error {
	if by == 0 {
		return nil
	}
	_, err := e.write(t, Op{Action: Increment, Value: Int(by)}, []opID{id})
	return err
}

// Resolve settles the conflict at p on one of its candidates by deleting the
// others: the candidate itself, with all that is in it and whatever others edit
// in it meanwhile, stays. A hidden one is written anew, as the view shows it: what
// others edit in the old one meanwhile is a conflict again. A deletion deletes them
// all. Without a conflict it changes nothing. The candidates of the record itself, which views of whole
// records have, are at the empty path.
func (e *Edit) Resolve(p Path, winner OpID) error {
	if len(p) == 0 {
		return e.resolveRecord(winner)
	}
	if seen := e.h.under(e.view); seen != e.h {
		return e.resolveSeen(seen, p, winner)
	}
	if err := e.adopt(); err != nil {
		return err
	}
	targets, err := e.targets(p)
	if err != nil {
		return err
	}
	for _, t := range targets {
		s := e.slot(&t)
		if s == nil {
			continue
		}
		for _, c := range e.h.candidates(place{obj: t.obj, key: t.key, elem: t.elem, slot: s}) {
			switch {
			case e.h.publicID(c.id) != winner:
			case c.deleted:
				if s.empty() {
					return e.removeHidden(&t)
				}
				return e.remove(&t)
			case c.hidden():
				_, err := e.revive(&t, c.id)
				return err
			default:
				return e.settle(&t, c.id)
			}
		}
	}
	return editError(p, "it has no candidate %s", winner)
}

// Insert inserts values into the list at p so that the first of them gets the
// index, 0 <= index <= length.
func (e *Edit) Insert(p Path, index int, vals ...any) error {
	if err := e.adopt(); err != nil {
		return err
	}
	obj, sc, err := e.findObject(p, MakeList, "list")
	if err != nil {
		return err
	}
	ref, n := e.elementAt(obj, sc, index-1)
	if index < 0 || index > 0 && ref.ctr == 0 {
		return editError(p, "index %d, but the list has %d elements", index, n)
	}
	normal, err := normaliseList(vals, 0)
	if err != nil {
		return editError(p, "%v", err)
	}
	if len(vals) == 0 {
		return nil
	}
	return e.insertValues(obj, ref, normal.([]any))
}

// Splice replaces del characters at pos of the text at p by s, counted in code
// points.
func (e *Edit) Splice(p Path, pos, del int, s string) error {
	if err := e.adopt(); err != nil {
		return err
	}
	obj, _, err := e.findObject(p, MakeText, "text")
	if err != nil {
		return err
	}
	n := obj.seq.len()
	if pos < 0 || del < 0 || pos > n || del > n-pos {
		return editError(p, "cannot replace %d characters at %d, the text has %d", del, pos, n)
	}
	if !utf8.ValidString(s) {
		return editError(p, "the characters are invalid UTF-8")
	}
	return e.splice(obj, pos, del, s)
}

// splice deletes first, then inserts, one element a code point. Of an element of
// several that lies across an end of the range, what is outside is written anew.
func (e *Edit) splice(obj *object, pos, del int, s string) error {
	seq := obj.seq
	ref := opID{}
	if pos > 0 {
		leaf, i, offset := seq.at(pos - 1)
		ref = leaf.elems[i].id
		if el := &leaf.elems[i]; offset+1 < int(el.width) {
			runes := []rune(e.h.char(el.slot.first))
			s = string(runes[:offset+1]) + s
			del, pos = del+offset+1, pos-offset-1
			ref = opID{}
			if pos > 0 {
				leaf, i, _ := seq.at(pos - 1)
				ref = leaf.elems[i].id
			}
			if del < len(runes) {
				s, del = s+string(runes[del:]), len(runes)
			}
		}
	}
	rest, err := e.cut(obj, pos, del)
	if err != nil {
		return err
	}
	if s += rest; s == "" {
		return nil
	}
	return e.insertText(obj, e.pastMarks(obj, ref), s)
}

// cut deletes the elements that cover the range. If the last one reaches beyond
// it, it returns what is to be written again.
func (e *Edit) cut(obj *object, pos, del int) (rest string, err error) {
	if del == 0 {
		return "", nil
	}
	seq := obj.seq
	leaf, i, _ := seq.at(pos)
	for del > 0 {
		el := leaf.elems[i]
		if w := int(el.width); w > 0 {
			if w > del {
				rest = string([]rune(e.h.char(el.slot.first))[del:])
			}
			del -= w
			if err := e.remove(&target{obj: obj, elem: el.id}); err != nil {
				return "", err
			}
		}
		leaf, i = seq.next(leaf, i)
	}
	return rest, nil
}

// insertText inserts characters, each behind the one before.
func (e *Edit) insertText(obj *object, ref opID, s string) (err error) {
	for len(s) > 0 {
		_, n := utf8.DecodeRuneInString(s)
		o := Op{Insert: true, Action: Set, Value: String(s[:n])}
		if ref, err = e.emit(obj, o, ref, nil); err != nil {
			return err
		}
		s = s[n:]
	}
	return nil
}
