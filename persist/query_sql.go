package persist

import (
	"database/sql/driver"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// compiler writes a query's SQL. Values and paths are arguments: the text has nothing
// in it that a caller wrote.
type compiler struct {
	strings.Builder
	args  []driver.Value
	json  string            // SQL of the record's JSON
	id    string            // SQL of its ID
	rid   string            // SQL of its RID
	keys  map[string]string // paths whose key stands in a column: SQL of that
	paths map[string]string // paths that are arguments already: SQL of that
	text  *TextIndex        // the collection's full text, or nil
}

// arg adds an argument and returns its mark.
func (c *compiler) arg(v driver.Value) string {
	c.args = append(c.args, v)
	return "?" + strconv.Itoa(len(c.args))
}

// path returns the mark of a path that is an argument.
func (c *compiler) path(path string) string {
	if c.paths[path] == "" {
		if c.paths == nil {
			c.paths = map[string]string{}
		}
		c.paths[path] = c.arg(path)
	}
	return c.paths[path]
}

// at returns the arguments of a JSON function that looks into a field.
func (c *compiler) at(path string) string { return "(" + c.json + ", " + c.path(path) + ")" }

// key returns the SQL of a field's key.
func (c *compiler) key(field string) (string, error) {
	if field == FieldID {
		return c.id, nil
	}
	path, err := fieldPath(field)
	if err != nil {
		return "", err
	}
	if column := c.keys[path]; column != "" {
		return column, nil
	}
	return keyAt(c.at(path)), nil
}

// cond writes a condition.
func (c *compiler) cond(cond *Cond) error {
	switch cond.kind {
	case condField:
		if err := c.compare(cond); err != nil {
			return withField(err, cond.field, cond.op)
		}
		return nil
	case condAnd:
		return c.join(cond.of, " AND ", "1")
	case condOr:
		return c.join(cond.of, " OR ", "0")
	case condNot:
		c.WriteString("NOT (")
		err := c.cond(&cond.of[0])
		c.WriteByte(')')
		return err
	case condSearch:
		return c.search(cond.value.(search))
	}
	c.WriteByte('1')
	return nil
}

// withField completes an error of a value.
func withField(err error, field string, op Op) error {
	if _, ok := err.(*QueryError); ok {
		return err
	}
	return &QueryError{Field: field, Op: op, Reason: err.Error()}
}

func (c *compiler) join(all []Cond, with, none string) error {
	if len(all) == 0 {
		c.WriteString(none)
		return nil
	}
	for i := range all {
		if i > 0 {
			c.WriteString(with)
		}
		c.WriteByte('(')
		if err := c.cond(&all[i]); err != nil {
			return err
		}
		c.WriteByte(')')
	}
	return nil
}

// compare writes a condition on a field.
func (c *compiler) compare(cond *Cond) error {
	k, err := c.key(cond.field)
	if err != nil {
		return err
	}
	switch cond.op {
	case In:
		return c.in(cond.field, k, cond.value)
	case Contains:
		return c.contains(cond.field, cond.value)
	case Exists:
		return c.exists(k, cond.value)
	}
	v, err := valueFor(cond.field, cond.value)
	if err != nil {
		return err
	}
	switch cond.op {
	case Eq:
		c.WriteString(k + " = " + c.arg(v))
		return nil
	case Ne:
		c.WriteString(k + " <> " + c.arg(v))
		return nil
	case Prefix:
		text, ok := v.(string)
		if !ok {
			return fmt.Errorf("the value has to be a string, not %T", cond.value)
		}
		c.between(k, " >= ", v, " < ", behindPrefix(text))
		return nil
	case Lt, Le, Gt, Ge:
		from, to, ok := keyRange(v)
		if !ok {
			return fmt.Errorf("only numbers, strings and times are less or greater, not %T", cond.value)
		}
		switch cond.op {
		case Lt:
			c.between(k, " >= ", from, " < ", v)
		case Le:
			c.between(k, " >= ", from, " <= ", v)
		case Gt:
			c.between(k, " > ", v, " < ", to)
		case Ge:
			c.between(k, " >= ", v, " < ", to)
		}
		return nil
	}
	return fmt.Errorf("unknown operator: there are %s", strings.Join(operators(), ", "))
}

// operators returns the names of all operators.
func operators() []string {
	var names []string
	for _, op := range []Op{Eq, Ne, Lt, Le, Gt, Ge, In, Prefix, Contains, Exists} {
		names = append(names, string(op))
	}
	return names
}

// between writes two bounds of a key; a nil bound is none.
func (c *compiler) between(k, above string, from driver.Value, below string, to driver.Value) {
	if from != nil {
		c.WriteString(k + above + c.arg(from) + " AND ")
	}
	c.WriteString(k + below + c.arg(to))
}

// valueFor returns the key of a value that a field is compared with.
func valueFor(field string, v any) (driver.Value, error) {
	key, err := keyValue(v)
	if _, ok := key.(string); !ok && err == nil && field == FieldID {
		err = fmt.Errorf("an ID is a string, not %T", v) // SQLite would make one of a number
	}
	return key, err
}

func (c *compiler) in(field, k string, values any) error {
	v := reflect.ValueOf(values)
	if v.Kind() != reflect.Slice || v.Type().Elem().Kind() == reflect.Uint8 {
		return fmt.Errorf("the value has to be a slice of values, not %T", values)
	}
	if len(c.args)+v.Len() > MaxQueryValues {
		return fmt.Errorf("more than %d values in the query", MaxQueryValues)
	}
	c.WriteString(k + " IN (")
	for i := range v.Len() {
		key, err := valueFor(field, v.Index(i).Interface())
		if err != nil {
			return err
		}
		if i > 0 {
			c.WriteByte(',')
		}
		c.WriteString(c.arg(key))
	}
	c.WriteByte(')')
	return nil
}

func (c *compiler) exists(k string, value any) error {
	there := true
	switch v := value.(type) {
	case nil:
	case bool:
		there = v
	default:
		return fmt.Errorf("the value has to be true or false, not %T", value)
	}
	if there {
		c.WriteString(k + " < " + keyMissing)
	} else {
		c.WriteString(k + " = " + keyMissing)
	}
	return nil
}

func (c *compiler) contains(field string, value any) error {
	key, err := valueFor(field, value)
	if err != nil {
		return err
	}
	mark := c.arg(key)
	if field == FieldID {
		c.WriteString("instr(" + c.id + ", " + mark + ") > 0")
		return nil
	}
	path, err := fieldPath(field)
	if err != nil {
		return err
	}
	at := c.at(path)
	c.WriteString("CASE json_type" + at)
	if _, ok := key.(string); ok {
		c.WriteString(" WHEN 'text' THEN instr(json_extract" + at + ", " + mark + ") > 0")
	}
	c.WriteString(" WHEN 'array' THEN EXISTS (SELECT 1 FROM json_each" + at + " e WHERE " +
		keyOf("e.type", "e.value") + " = " + mark + ") ELSE 0 END")
	return nil
}

// order writes ORDER BY.
func (c *compiler) order(by []Order) error {
	c.WriteString(" ORDER BY ")
	desc := ""
	for _, o := range by {
		k, err := c.key(o.Field)
		if err != nil {
			return err
		}
		if desc = ""; o.Desc {
			desc = " DESC"
		}
		c.WriteString(k + desc + ", ")
	}
	c.WriteString(c.id + desc)
	return nil
}

// after writes the condition that a record comes behind the one with the given keys,
// the last of which is its ID.
func (c *compiler) after(by []Order, place []driver.Value) error {
	keys := make([]string, len(place))
	desc := make([]bool, len(place))
	for i, o := range by {
		k, err := c.key(o.Field)
		if err != nil {
			return err
		}
		keys[i], desc[i] = k, o.Desc
	}
	last := len(by)
	keys[last] = c.id
	desc[last] = last > 0 && desc[last-1]
	if !slices.Contains(desc, !desc[0]) { // all in one direction: SQLite finds the place in an index
		c.WriteString("(" + strings.Join(keys, ", ") + ")" + behind(desc[0]) + "(")
		for i, v := range place {
			if i > 0 {
				c.WriteString(", ")
			}
			c.WriteString(c.arg(v))
		}
		c.WriteByte(')')
		return nil
	}
	for n := range keys { // equal in the first n, and behind in the next
		if n > 0 {
			c.WriteString(" OR ")
		}
		c.WriteByte('(')
		for i := range n {
			c.WriteString(keys[i] + " = " + c.arg(place[i]) + " AND ")
		}
		c.WriteString(keys[n] + behind(desc[n]) + c.arg(place[n]) + ")")
	}
	return nil
}

func behind(desc bool) string {
	if desc {
		return " < "
	}
	return " > "
}
