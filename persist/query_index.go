package persist

// How well an index serves a condition.
const (
	servesNot = iota
	servesOrder
	servesRange
	servesIn
	servesEqual
)

// choose returns the index that a query is to start from, nil for none. The rest of
// the query is compiled so that SQLite sees the index's keys in it.
//
// There are no statistics: equality comes before a choice of values, that before a
// range, and any condition before an order.
func choose(q *Query, indexes []FieldIndex, group string) *FieldIndex {
	best, found := servesNot, (*FieldIndex)(nil)
	for i := range indexes {
		x := &indexes[i]
		if !x.Ready {
			continue
		}
		serves := x.serves(&q.Where)
		ordered := len(q.OrderBy) > 0 && samePath(q.OrderBy[0].Field, x.Field) || group != "" && samePath(group, x.Field)
		if serves == servesNot && ordered {
			serves = servesOrder
		}
		if serves > best || serves == best && best != servesNot && ordered {
			best, found = serves, x
		}
	}
	if namesIDs(&q.Where) && best < servesEqual {
		return nil // the records' own index is at least as good
	}
	return found
}

// serves says what the index does for a condition that has to hold.
func (x *FieldIndex) serves(c *Cond) (best int) {
	switch c.kind {
	case condAnd:
		for i := range c.of {
			best = max(best, x.serves(&c.of[i]))
		}
	case condField:
		if samePath(c.field, x.Field) {
			switch c.op {
			case Eq:
				return servesEqual
			case In:
				return servesIn
			case Lt, Le, Gt, Ge, Prefix:
				return servesRange
			case Exists:
				if c.value == false {
					return servesEqual
				}
			}
		}
	}
	return best
}

// namesIDs reports whether the condition narrows the IDs.
func namesIDs(c *Cond) bool {
	switch c.kind {
	case condAnd:
		for i := range c.of {
			if namesIDs(&c.of[i]) {
				return true
			}
		}
	case condField:
		return c.field == FieldID && (c.op == Eq || c.op == In)
	case condSearch:
		return true
	}
	return false
}

// samePath reports whether two fields have one path: a.b is ["a"].b too.
func samePath(a, b string) bool {
	if a == b {
		return true
	}
	if a == FieldID || b == FieldID {
		return false
	}
	p, err := fieldPath(a)
	if err != nil {
		return false
	}
	q, err := fieldPath(b)
	return err == nil && p == q
}
