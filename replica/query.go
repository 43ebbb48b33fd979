package replica

import (
	"context"
	"encoding/json"
	"iter"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// Op is how a condition compares a field with a value.
type Op = persist.Op

// The operators. Values of different types are never equal, less or greater; an int
// and a float of the same number are equal.
const (
	Eq       = persist.Eq       // any value; nil is a null that is there
	Ne       = persist.Ne       // Not of Eq, so also where the field is not there
	Lt       = persist.Lt       // Lt, Le, Gt, Ge: numbers, strings and times
	Le       = persist.Le       // less or equal
	Gt       = persist.Gt       // greater
	Ge       = persist.Ge       // greater or equal
	In       = persist.In       // a slice: equal to one of its elements
	Prefix   = persist.Prefix   // a string that the field begins with
	Contains = persist.Contains // a string that is part of a string, or a value that a list has
	Exists   = persist.Exists   // true or nil: the field is there, also if null; false: it is not
)

// FieldID names a record's ID where a field is asked for.
const FieldID = persist.FieldID

// Cond is a condition on a record, made by Where, And, Or, Not and Search. The zero
// Cond always holds.
type Cond = persist.Cond

// Order sorts by a field: numbers, strings, booleans, times, bytes, lists and maps,
// NaN, null, and last the records that lack the field; the other way round if Desc.
type Order = persist.Order

// QueryError says what is wrong with a query.
type QueryError = persist.QueryError

// Where compares a field, named by its path ("address.city"), or FieldID. value is of
// any type that a record can hold; times are compared as times, in milliseconds.
func Where(field string, op Op, value any) Cond { return persist.Where(field, op, value) }

// And holds where all conditions do; of none, everywhere.
func And(all ...Cond) Cond { return persist.And(all...) }

// Or holds where any condition does; of none, nowhere.
func Or(any ...Cond) Cond { return persist.Or(any...) }

// Not holds where the condition does not.
func Not(c Cond) Cond { return persist.Not(c) }

// Search holds where all words of text are in the fields, or in any of the fields
// that EnsureText declared if none is given. Case and accents do not count; a word that
// ends in * stands for all that begin so.
func Search(text string, fields ...string) Cond { return persist.Search(text, fields...) }

// Query selects records of a collection by what they show under its policy. The order
// ends with the ID, in the direction of the last Order.
type Query struct {
	Collection string
	Where      Cond
	OrderBy    []Order
	Limit      int  // 0: no limit
	Offset     int  // records to skip; After is faster
	After      Item // go on behind the last item of the page before, also if it has changed since or is gone
}

// stored returns the query for the store.
func (q *Query) stored() persist.Query {
	p := persist.Query{Collection: q.Collection, Where: q.Where, OrderBy: q.OrderBy, Limit: q.Limit, Offset: q.Offset}
	if q.After.Key.ID != "" {
		p.After = &persist.View{ID: q.After.Key.ID, JSON: q.After.Value}
	}
	return p
}

func (q *Query) item(v persist.View) Item {
	return Item{crdt.Key{Collection: q.Collection, ID: v.ID}, v.JSON}
}

// Query yields the records that a query selects. What is wrong with the query is a
// *QueryError.
//
// The first 256 are of one moment. So is the choice of the rest and its order, of a
// later one; their values are read as the loop goes on, and what does not meet the
// condition any more is left out. Of the rest 8 bytes a record are held in memory.
func (r *Replica) Query(ctx context.Context, q Query) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		if err := r.queryPages(ctx, q, func(it Item) bool { return yield(it, nil) }); err != nil {
			yield(Item{}, queryError(q, err))
		}
	}
}

func queryError(q Query, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: "query " + q.Collection, Err: translate(err)}
}

func (r *Replica) queryPages(ctx context.Context, q Query, yield func(Item) bool) error {
	first := q.stored()
	if first.Limit == 0 || first.Limit > listPage {
		first.Limit = listPage
	}
	page, err := r.queryPage(ctx, q, func(rd *persist.Reader) iter.Seq2[persist.View, error] { return rd.Query(ctx, first) })
	if err != nil {
		return err
	}
	for _, v := range page {
		if !yield(q.item(v)) {
			return nil
		}
	}
	if len(page) < listPage || q.Limit == listPage {
		return nil
	}
	rest := q.stored()
	rest.Offset, rest.After = 0, &page[len(page)-1]
	if rest.Limit > 0 {
		rest.Limit -= listPage
	}
	return r.queryRest(ctx, q, rest, yield)
}

// queryRest yields what rest selects, in pages that are read one by one.
func (r *Replica) queryRest(ctx context.Context, q Query, rest persist.Query, yield func(Item) bool) error {
	var rids []int64
	err := r.readQuery(ctx, q, func(rd *persist.Reader) (err error) {
		rids, err = rd.QueryRIDs(ctx, rest)
		return err
	})
	for len(rids) > 0 && err == nil {
		some := rids[:min(len(rids), listPage)]
		rids = rids[len(some):]
		var page []persist.View
		page, err = r.queryPage(ctx, q, func(rd *persist.Reader) iter.Seq2[persist.View, error] { return rd.QueryAt(ctx, rest, some) })
		shown := make(map[int64]persist.View, len(page))
		for _, v := range page {
			shown[v.RID] = v
		}
		for _, rid := range some {
			if v, ok := shown[rid]; ok && !yield(q.item(v)) {
				return nil
			}
		}
	}
	return err
}

func (r *Replica) queryPage(ctx context.Context, q Query, read func(*persist.Reader) iter.Seq2[persist.View, error]) (page []persist.View, err error) {
	err = r.readQuery(ctx, q, func(rd *persist.Reader) error {
		page = page[:0]
		for v, err := range read(rd) {
			if err != nil {
				return err
			}
			page = append(page, v)
		}
		return nil
	})
	return page, err
}

// readQuery runs fn on a snapshot in which the stored values of the query's collection
// follow its policy, and its full text, if the query searches it, the log.
func (r *Replica) readQuery(ctx context.Context, q Query, fn func(*persist.Reader) error) error {
	late := false
	err := r.store.Read(ctx, func(rd *persist.Reader) (err error) {
		if late, err = r.queryLate(rd, q); late || err != nil {
			return err
		}
		return fn(rd)
	})
	if err != nil || !late {
		return err
	}
	if err := r.catchUp(ctx, q); err != nil {
		return err
	}
	return r.store.Read(ctx, fn) // what was committed meanwhile need not be in it
}

// queryLate reports whether catchUp has something to do.
func (r *Replica) queryLate(rd *persist.Reader, q Query) (late bool, err error) {
	if late, err = rd.IsStale(q.Collection); late || err != nil || !q.Where.Searches() {
		return late, err
	}
	t, err := rd.TextIndex(q.Collection)
	if err != nil || t == nil {
		return false, err
	}
	return rd.TextBehind(t)
}

// catchUp brings what a query reads up to date.
func (r *Replica) catchUp(ctx context.Context, q Query) error {
	if err := r.freshen(ctx, q.Collection); err != nil {
		return err
	}
	if !q.Where.Searches() {
		return nil
	}
	return r.updateText(ctx, q.Collection)
}

// matches reports whether a record that shows value meets the condition of the query.
// A Search looks at what was stored under its RID when catchUp was last called.
func (r *Replica) matches(ctx context.Context, rd *persist.Reader, q Query, rid int64, id string, value json.RawMessage) (bool, error) {
	if value == nil {
		return false, nil
	}
	return rd.Matches(ctx, q.stored(), persist.View{RID: rid, ID: id, JSON: value})
}

// Count returns how many records meet the condition of the query.
func (r *Replica) Count(ctx context.Context, q Query) (n int64, err error) {
	err = r.readQuery(ctx, q, func(rd *persist.Reader) error {
		n, err = rd.Count(ctx, q.stored())
		return err
	})
	return n, queryError(q, err)
}

// Group is a value of a field, and how many records show it.
type Group struct {
	Value json.RawMessage
	Count int64
}

// CountBy returns the values that a field has in the records that meet the condition,
// in the order of Order (the first of OrderBy says if descending), at most Limit. A
// record without the field is in no group.
func (r *Replica) CountBy(ctx context.Context, q Query, field string) (all []Group, err error) {
	err = r.readQuery(ctx, q, func(rd *persist.Reader) error {
		all = nil
		for g, err := range rd.Groups(ctx, q.stored(), field, len(q.OrderBy) > 0 && q.OrderBy[0].Desc) {
			if err != nil {
				return err
			}
			all = append(all, Group{g.Value, g.Count})
		}
		return nil
	})
	return all, queryError(q, err)
}

// Distinct returns the values of CountBy.
func (r *Replica) Distinct(ctx context.Context, q Query, field string) (values []json.RawMessage, err error) {
	all, err := r.CountBy(ctx, q, field)
	for _, g := range all {
		values = append(values, g.Value)
	}
	return values, err
}

// Plan returns the SQL of a query and how SQLite goes about it, for people.
func (r *Replica) Plan(ctx context.Context, q Query) (text string, err error) {
	err = r.readQuery(ctx, q, func(rd *persist.Reader) error {
		text, err = rd.Plan(ctx, q.stored())
		return err
	})
	return text, queryError(q, err)
}
