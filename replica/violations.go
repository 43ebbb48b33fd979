package replica

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// Kinds of Violation.
const (
	ViolationUnique    = "unique"
	ViolationReference = "reference"
)

// Violation is where a constraint does not hold.
type Violation struct {
	Kind       string
	Collection string
	Field      string
	Value      json.RawMessage // as the view shows it

	// Of a unique field: the records that show the value. The first has it by
	// right, the others are to give way. That is the record in which the value was
	// set first, by the clock of the change that set it; of equal times the one with
	// the least operation ID, then the one with the least ID. A value that is made
	// up of several, as a text is, was set when the last of them was.
	IDs []string

	// Of a reference: the record that has it, and the collection that the value is
	// no ID of.
	ID     string
	Target string
}

// Violations yields where the constraints of a collection ("" for all of them)
// do not hold, by collection, unique fields before references, by field, value and
// record. Equal is what shows as equal JSON; null, or no field at all, violates
// nothing.
//
// It reads the stored view, so replicas with equal records, constraints and
// policies list the same (local and remote excepted). Values that still follow an
// older policy are rebuilt first.
func (r *Replica) Violations(ctx context.Context, collection string) iter.Seq2[Violation, error] {
	return func(yield func(Violation, error) bool) {
		all, err := r.violations(ctx, collection)
		if err != nil {
			yield(Violation{}, &Error{Op: strings.TrimSpace("violations " + collection), Err: translate(err)})
			return
		}
		for _, v := range all {
			if !yield(v, nil) {
				return
			}
		}
	}
}

func (r *Replica) violations(ctx context.Context, collection string) (all []Violation, err error) {
	names := []string{collection}
	if collection == "" {
		if names, err = r.constrained(ctx); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		found, err := r.violationsOf(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// constrained returns the collections that have constraints.
func (r *Replica) constrained(ctx context.Context) (names []string, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		for rec, err := range rd.Records(reserved, constraintsPrefix, 0) {
			if err != nil {
				return err
			}
			name, ok := strings.CutPrefix(rec.Key.ID, constraintsPrefix)
			if !ok {
				break
			}
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

func (r *Replica) violationsOf(ctx context.Context, collection string) (all []Violation, err error) {
	declared, err := r.Constraints(ctx, collection)
	if err != nil {
		return nil, err
	}
	names := []string{collection}
	for _, ref := range declared.References {
		names = append(names, ref.Collection) // a policy can say which records are there
	}
	for _, name := range names {
		if err := r.freshen(ctx, name); err != nil {
			return nil, err
		}
	}
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		c, err := r.constraints(rd, collection)
		if err != nil {
			return err
		}
		for _, field := range c.Unique {
			if all, err = r.duplicates(rd, collection, field, all); err != nil {
				return err
			}
		}
		for _, ref := range c.References {
			if all, err = dangling(rd, collection, ref, all); err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// freshen completes a rebuild of the collection that was cut short.
func (r *Replica) freshen(ctx context.Context, collection string) error {
	stale := false
	err := r.store.Read(ctx, func(rd *persist.Reader) (err error) {
		stale, err = rd.IsStale(collection)
		return err
	})
	if err != nil || !stale {
		return err
	}
	return r.rebuild(ctx, collection, nil)
}

// duplicates appends the violations of a unique field.
func (r *Replica) duplicates(rd *persist.Reader, collection, field string, all []Violation) ([]Violation, error) {
	path, err := crdt.ParsePath(field)
	if err != nil {
		return nil, err
	}
	first := len(all)
	for fv, err := range rd.Duplicates(collection, path) {
		if err != nil {
			return nil, err
		}
		if n := len(all); n == first || !bytes.Equal(all[n-1].Value, fv.Value) {
			all = append(all, Violation{Kind: ViolationUnique, Collection: collection, Field: field, Value: fv.Value})
		}
		v := &all[len(all)-1]
		v.IDs = append(v.IDs, fv.ID)
	}
	for i := range all[first:] {
		if err := r.rank(rd, path, &all[first+i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// rank brings the records of a duplicate value into the order in which they set
// it.
func (r *Replica) rank(rd *persist.Reader, field crdt.Path, v *Violation) error {
	since := make(map[string]setting, len(v.IDs))
	for _, id := range v.IDs {
		s, err := r.setAt(rd, crdt.Key{Collection: v.Collection, ID: id}, field)
		if err != nil {
			return err
		}
		since[id] = s
	}
	slices.SortFunc(v.IDs, func(a, b string) int { return cmp.Or(since[a].compare(since[b]), cmp.Compare(a, b)) })
	return nil
}

// setting is when a value was set.
type setting struct {
	time int64
	op   crdt.OpID
}

func (s setting) compare(o setting) int {
	return cmp.Or(cmp.Compare(s.time, o.time), s.op.Compare(o.op))
}

// setAt returns when what a record shows in a field was set.
func (r *Replica) setAt(rd *persist.Reader, k crdt.Key, field crdt.Path) (last setting, err error) {
	rec, err := rd.Record(k)
	if err != nil {
		return last, err
	}
	view, err := r.loadView(rd, k.Collection)
	if err != nil {
		return last, err
	}
	h, err := loadHistory(rd, rec)
	if err != nil {
		return last, err
	}
	blame, err := h.Blame(field, view.View)
	if errors.Is(err, crdt.ErrNoValue) {
		return setting{time: math.MaxInt64}, nil // its value could not be rebuilt
	}
	for _, b := range blame {
		if s := (setting{b.Time, b.Op}); last == (setting{}) || last.compare(s) < 0 {
			last = s
		}
	}
	return last, err
}

// dangling appends the violations of a reference.
func dangling(rd *persist.Reader, collection string, ref Reference, all []Violation) ([]Violation, error) {
	path, err := crdt.ParsePath(ref.Field)
	if err != nil {
		return nil, err
	}
	for fv, err := range rd.Dangling(collection, path, ref.Collection) {
		if err != nil {
			return nil, err
		}
		all = append(all, Violation{Kind: ViolationReference, Collection: collection, Field: ref.Field,
			Value: fv.Value, ID: fv.ID, Target: ref.Collection})
	}
	return all, nil
}
