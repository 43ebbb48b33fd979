package replica

import (
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/godwitdb/godwit/crdt"
)

// encoder turns Go values into what crdt.ParseJSON yields, sharing no memory with
// them. It ends at the first value that no record holds.
type encoder struct {
	path crdt.Path
	size int // bytes, about
	ops  int // operations that writing it takes
	err  error
	more *compiler // for the types that interfaces hold
}

// write returns the tree of v, which c was made for.
func (c *codec) write(v reflect.Value) (tree any, size int, err error) {
	e := encoder{}
	tree = c.encode(&e, v)
	return tree, e.size, e.err
}

func (e *encoder) fail(want, got string) {
	if e.err == nil {
		e.err = &FieldError{Path: append(crdt.Path(nil), e.path...), Want: want, Got: got}
	}
}

// count adds to the size of what is written, which no change set may exceed.
func (e *encoder) count(bytes, ops int) {
	e.size += bytes
	e.ops += ops
	if (e.size > MaxSetBytes || e.ops > MaxSetOps) && e.err == nil {
		e.err = fmt.Errorf("field %s: more than %d bytes, or characters of texts and fields than %d: %w",
			e.path, MaxSetBytes, MaxSetOps, ErrTooLarge)
	}
}

func (e *encoder) text(s string) string {
	e.count(len(s)+1, 0)
	if !utf8.ValidString(s) {
		e.fail("a string", "invalid UTF-8")
	}
	return s
}

func (e *encoder) bytes(b []byte) []byte {
	if e.count(len(b)+1, 0); e.err != nil {
		return nil
	}
	return b
}

func (e *encoder) field(name string, c *codec, v reflect.Value) any {
	return e.at(crdt.Step{Key: name}, c, v)
}

func (e *encoder) at(s crdt.Step, c *codec, v reflect.Value) (out any) {
	e.path = append(e.path, s)
	if e.count(1, 1); len(e.path) > crdt.MaxDepth {
		e.fail("values nested no deeper than the bound", "a deeper one, or a cycle")
	}
	if e.err == nil {
		out = c.encode(e, v)
	}
	e.path = e.path[:len(e.path)-1]
	return out
}

// any writes a value of a type that is known only now.
func (e *encoder) any(v reflect.Value) any {
	if e.more == nil {
		e.more = &compiler{done: map[codecKey]*codec{}}
	}
	c, err := e.more.codec(codecKey{typ: v.Type()})
	if err != nil {
		e.fail("a value that records hold", err.Error())
		return nil
	}
	return c.encode(e, v)
}

// asList keeps lists of a fixed length at that: another one is a misfit.
func (c *codec) asList() {
	c.want = "a list"
	fixed := c.typ.Kind() == reflect.Array
	c.decode = func(d *jsonReader, v reflect.Value) {
		if d.null() {
			v.SetZero()
			return
		}
		if d.peek() != '[' {
			d.wrong(c.want)
			return
		}
		if fixed {
			c.readArray(d, v)
			return
		}
		v.Set(reflect.MakeSlice(c.typ, 0, 0))
		d.elements(func(i int) {
			if i == v.Cap() {
				v.Grow(1)
			}
			v.SetLen(i + 1)
			v.Index(i).SetZero()
			c.elem.decode(d, v.Index(i))
		})
	}
	c.encode = func(e *encoder, v reflect.Value) any {
		out := make([]any, v.Len())
		for i := range out {
			if e.err != nil {
				break
			}
			out[i] = orNull(e.at(crdt.Step{Index: i, InList: true}, c.elem, v.Index(i)))
		}
		return out
	}
}

func (c *codec) readArray(d *jsonReader, v reflect.Value) {
	n := 0
	d.elements(func(i int) {
		if n++; i >= v.Len() {
			d.skip()
			return
		}
		c.elem.decode(d, v.Index(i))
	})
	if n != v.Len() {
		d.misfit(fmt.Sprintf("a list of %d", v.Len()), fmt.Sprintf("one of %d", n))
	}
}

func (c *codec) asMap() {
	c.want = "a map"
	c.decode = func(d *jsonReader, v reflect.Value) {
		if d.peek() == '{' {
			v.Set(reflect.MakeMap(c.typ))
		}
		d.object(c, v, func(key string) {
			elem := reflect.New(c.typ.Elem()).Elem()
			c.elem.decode(d, elem)
			v.SetMapIndex(reflect.ValueOf(key).Convert(c.typ.Key()), elem)
		})
	}
	c.encode = func(e *encoder, v reflect.Value) any {
		out := make(map[string]any, v.Len())
		for it := v.MapRange(); it.Next() && e.err == nil; {
			key := e.text(it.Key().String())
			out[key] = orNull(e.field(key, c.elem, it.Value()))
		}
		return out
	}
}

func (c *codec) asPointer() {
	c.want = c.elem.want
	c.decode = func(d *jsonReader, v reflect.Value) {
		if d.null() {
			v.SetZero()
			return
		}
		before := len(d.errs)
		p := reflect.New(c.typ.Elem())
		c.elem.decode(d, p.Elem())
		if len(d.errs) == before || p.Elem().Kind() == reflect.Struct {
			v.Set(p)
		}
	}
	c.encode = func(e *encoder, v reflect.Value) any {
		if v.IsNil() {
			return nil
		}
		return orNull(c.elem.encode(e, v.Elem()))
	}
}

func orNull(tree any) any {
	if _, none := tree.(omitted); none {
		return nil
	}
	return tree
}
