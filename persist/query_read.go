package persist

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
)

// Query yields what a query selects. It looks at stored views only: those that follow
// an older policy are for the caller to rebuild first. What is wrong with the query is
// a *QueryError.
func (r *Reader) Query(ctx context.Context, q Query) iter.Seq2[View, error] {
	return func(yield func(View, error) bool) {
		c, err := r.compile(ctx, &q, "")
		if err == nil {
			c.prepend("SELECT " + c.rid + ", " + c.id + ", " + c.json)
			err = c.tail(&q)
		}
		if err != nil {
			yield(View{}, err)
			return
		}
		r.views(ctx, c, yield)
	}
}

// views yields what a statement selects that gives a RID, an id and JSON.
func (r *Reader) views(ctx context.Context, c *compiler, yield func(View, error) bool) {
	for row, err := range r.dynamic(ctx, c) {
		var v View
		if err == nil {
			v = View{RID: row.int(0), ID: row.text(1), JSON: row.textBytes(2)}
		}
		if !yield(v, err) || err != nil {
			return
		}
	}
}

// QueryRIDs returns the RIDs of what a query selects, in order.
func (r *Reader) QueryRIDs(ctx context.Context, q Query) (rids []int64, err error) {
	c, err := r.compile(ctx, &q, "")
	if err != nil {
		return nil, err
	}
	c.prepend("SELECT " + c.rid)
	if err := c.tail(&q); err != nil {
		return nil, err
	}
	for row, err := range r.dynamic(ctx, c) {
		if err != nil {
			return nil, err
		}
		rids = append(rids, row.int(0))
	}
	return rids, nil
}

// QueryAt yields those of the records that meet the query's condition, in no order.
func (r *Reader) QueryAt(ctx context.Context, q Query, rids []int64) iter.Seq2[View, error] {
	return func(yield func(View, error) bool) {
		c := r.newCompiler()
		list, err := json.Marshal(rids)
		if err == nil {
			c.WriteString("SELECT r.rid, r.id, " + c.json + " FROM records r WHERE r.rid IN (SELECT value FROM json_each(" +
				c.arg(string(list)) + ")) AND r.deleted = 0 AND ")
			err = r.where(c, &q)
		}
		if err != nil {
			yield(View{}, err)
			return
		}
		r.views(ctx, c, yield)
	}
}

// Matches reports whether a record that shows this meets the query's condition,
// whatever is stored of it. A Search looks at what is stored under its RID.
func (r *Reader) Matches(ctx context.Context, q Query, v View) (ok bool, err error) {
	if err := q.valid(); err != nil {
		return false, err
	}
	c := &compiler{json: "r.json", id: "r.id", rid: "r.rid"}
	c.WriteString("SELECT 1 FROM " + c.shown(v) + " WHERE ")
	if err := r.where(c, &q); err != nil {
		return false, err
	}
	for _, err := range r.dynamic(ctx, c) {
		return err == nil, err
	}
	return false, nil
}

// shown is the SQL of a table r of one record that shows what v says.
func (c *compiler) shown(v View) string {
	return "(SELECT " + c.arg(v.RID) + " AS rid, " + c.arg(v.ID) + " AS id, " + c.arg(asText(v.JSON)) + " AS json) r"
}

// Count counts what a query selects; Limit, Offset and After do not matter.
func (r *Reader) Count(ctx context.Context, q Query) (int64, error) {
	c, err := r.compile(ctx, &Query{Collection: q.Collection, Where: q.Where}, "")
	if err != nil {
		return 0, err
	}
	c.prepend("SELECT count(*)")
	for row, err := range r.dynamic(ctx, c) {
		if err != nil {
			return 0, err
		}
		return row.int(0), nil
	}
	return 0, nil
}

// Group is a value of a field and how many records have it.
type Group struct {
	Value []byte // as JSON
	Count int64
}

// Groups yields the values that a field has in what a query selects, in the order of
// Order, at most Limit. Records without the field are in no group. Of a number that is
// written in several ways, one is given.
func (r *Reader) Groups(ctx context.Context, q Query, field string, desc bool) iter.Seq2[Group, error] {
	return func(yield func(Group, error) bool) {
		c, err := r.groups(ctx, q, field, desc)
		if err != nil {
			yield(Group{}, err)
			return
		}
		for row, err := range r.dynamic(ctx, c) {
			var g Group
			if err == nil {
				g = Group{Value: row.textBytes(0), Count: row.int(1)}
			}
			if !yield(g, err) || err != nil {
				return
			}
		}
	}
}

func (r *Reader) groups(ctx context.Context, q Query, field string, desc bool) (*compiler, error) {
	c, err := r.compile(ctx, &Query{Collection: q.Collection, Where: q.Where}, field)
	if err != nil {
		return nil, err
	}
	k, err := c.key(field)
	if err != nil {
		return nil, err
	}
	value := "json_quote(" + c.id + ")"
	if field != FieldID {
		path, err := fieldPath(field)
		if err != nil {
			return nil, err
		}
		value = c.json + " -> " + c.path(path)
	}
	c.prepend("SELECT min(" + value + "), count(*)")
	c.WriteString(" AND " + k + " < " + keyMissing + " GROUP BY " + k + " ORDER BY " + k)
	if desc {
		c.WriteString(" DESC")
	}
	c.limit(&q)
	return c, nil
}

// Plan returns the SQL of a query, and below it how SQLite goes about it, for people.
func (r *Reader) Plan(ctx context.Context, q Query) (string, error) {
	c, err := r.compile(ctx, &q, "")
	if err != nil {
		return "", err
	}
	c.prepend("SELECT " + c.rid + ", " + c.id + ", " + c.json)
	if err := c.tail(&q); err != nil {
		return "", err
	}
	text := c.String()
	c.prepend("EXPLAIN QUERY PLAN ")
	depth := map[int64]int{}
	for row, err := range r.dynamic(ctx, c) {
		if err != nil {
			return "", err
		}
		depth[row.int(0)] = depth[row.int(1)] + 1
		text += "\n" + strings.Repeat("  ", depth[row.int(0)]) + row.text(3)
	}
	return text, nil
}

// newCompiler returns a compiler for rows r of the table records.
func (r *Reader) newCompiler() *compiler {
	return &compiler{json: viewJSON("r"), id: "r.id", rid: "r.rid"}
}

// compile writes a query from FROM to the end of WHERE. group is a field to group by,
// or "".
func (r *Reader) compile(ctx context.Context, q *Query, group string) (*compiler, error) {
	if err := q.valid(); err != nil {
		return nil, err
	}
	c := r.newCompiler()
	indexes, err := r.Indexes(q.Collection)
	if err != nil {
		return nil, err
	}
	if x := choose(q, indexes, group); x != nil {
		path, err := fieldPath(x.Field)
		if err != nil {
			return nil, err
		}
		c.keys, c.id, c.rid = map[string]string{path: "f.key"}, "f.id", "f.rid"
		c.WriteString(" FROM " + x.table() + " f CROSS JOIN records r ON r.rid = f.rid WHERE r.deleted = 0 AND ")
	} else {
		c.WriteString(" FROM records r WHERE r.collection = " + c.arg(q.Collection) + " AND r.deleted = 0 AND ")
	}
	if err := r.where(c, q); err != nil {
		return nil, err
	}
	if q.After == nil {
		return c, nil
	}
	place, err := r.place(ctx, q)
	if err != nil {
		return nil, err
	}
	c.WriteString(" AND (")
	if err := c.after(q.OrderBy, place); err != nil {
		return nil, err
	}
	c.WriteByte(')')
	return c, nil
}

// where writes the query's condition.
func (r *Reader) where(c *compiler, q *Query) (err error) {
	if q.Where.Searches() {
		if c.text, err = r.TextIndex(q.Collection); err != nil {
			return err
		}
	}
	c.WriteByte('(')
	err = c.cond(&q.Where)
	c.WriteByte(')')
	return err
}

// place returns the keys by which After is sorted, with its ID behind them.
func (r *Reader) place(ctx context.Context, q *Query) ([]driver.Value, error) {
	c := &compiler{json: "r.json", id: "r.id", rid: "r.rid"}
	c.WriteString("SELECT ")
	for _, o := range q.OrderBy {
		k, err := c.key(o.Field)
		if err != nil {
			return nil, err
		}
		c.WriteString(k + ", ")
	}
	if len(q.OrderBy) > 0 && len(q.After.JSON) == 0 {
		return nil, &QueryError{Reason: "the record to go on after needs its value: it says where it is in the order"}
	}
	c.WriteString("r.id FROM " + c.shown(*q.After))
	for row, err := range r.dynamic(ctx, c) {
		return append([]driver.Value(nil), row...), err
	}
	return nil, fmt.Errorf("find the place of %q: no row", q.After.ID)
}

// prepend puts text before what was written.
func (c *compiler) prepend(text string) {
	rest := c.String()
	c.Reset()
	c.WriteString(text + rest)
}

// tail writes what follows WHERE.
func (c *compiler) tail(q *Query) error {
	if err := c.order(q.OrderBy); err != nil {
		return err
	}
	c.limit(q)
	return nil
}

func (c *compiler) limit(q *Query) {
	c.WriteString(" LIMIT " + c.arg(sqlLimit(q.Limit)) + " OFFSET " + c.arg(int64(q.Offset)))
}

// dynamic yields the rows of a compiled query.
func (r *Reader) dynamic(ctx context.Context, c *compiler) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		if r.c == nil {
			yield(nil, errOver)
			return
		}
		for row, err := range r.c.dynamic(ctx, c.String(), c.args) {
			if !yield(row, r.fail(err)) || err != nil {
				return
			}
		}
	}
}
