package replica

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/godwitdb/godwit/crdt"
)

// FieldError says which field of a record, or of a value that was to be written,
// does not fit its Go type.
type FieldError struct {
	Path crdt.Path // empty: the record itself
	Want string    // what the Go type holds: "an integer"
	Got  string    // what is there instead: "a string"
}

// Error reads `field address.zip: want an integer, got a string`.
func (e *FieldError) Error() string {
	if len(e.Path) == 0 {
		return fmt.Sprintf("want %s, got %s", e.Want, e.Got)
	}
	return fmt.Sprintf("field %s: want %s, got %s", e.Path, e.Want, e.Got)
}

// codec reads and writes the values of one Go type, as a field's tag has it. A
// replica compiles each type once; codecs of recursive types refer to themselves.
type codec struct {
	typ    reflect.Type
	want   string // what it holds, for errors
	decode func(*jsonReader, reflect.Value)
	encode func(*encoder, reflect.Value) any // yields what crdt.ParseJSON yields

	fields   []*field          // of a struct, by name
	byName   map[string]*field // the same
	elem     *codec            // of a list, map or pointer
	identity string            // of a struct: the field by which it is known among others of a list
}

const wantText = "a text"

// codecKey tells codecs of one type apart.
type codecKey struct {
	typ  reflect.Type
	form string // "", optText or optCounter
}

var (
	typeTime            = reflect.TypeFor[time.Time]()
	typeText            = reflect.TypeFor[crdt.Text]()
	typeCounter         = reflect.TypeFor[crdt.Counter]()
	typeTextMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	typeTextUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	typeJSONMarshaler   = reflect.TypeFor[json.Marshaler]()
	typeJSONUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
)

// schema is what a collection knows of its type.
type schema struct {
	*codec
	id *field // holds the record's id, and is not stored; or nil
}

// schema returns the schema of a collection's type.
func (r *Replica) schema(t reflect.Type) (*schema, error) {
	if s, ok := r.schemas.Load(t); ok {
		return s.(*schema), nil
	}
	c := &compiler{done: map[codecKey]*codec{}}
	root, err := c.codec(codecKey{typ: t})
	if err == nil && root.fields == nil && (t.Kind() != reflect.Map || root.elem == nil) {
		err = fmt.Errorf("a collection holds a struct or a map with string keys, not %s", t)
	}
	if err != nil {
		return nil, err
	}
	s := &schema{codec: root}
	if root.identity != "" {
		s.id = root.byName[root.identity]
		if s.id.codec.typ.Kind() != reflect.String {
			return nil, fmt.Errorf("%s: the field %s is tagged id and no string", t, s.id.name)
		}
	}
	r.schemas.Store(t, s)
	return s, nil
}

// compiler makes the codecs of a type and of what is in it.
type compiler struct {
	done map[codecKey]*codec
}

func (c *compiler) codec(k codecKey) (*codec, error) {
	if made := c.done[k]; made != nil {
		return made, nil
	}
	made := &codec{typ: k.typ}
	c.done[k] = made
	if err := c.fill(made, k.form); err != nil {
		return nil, err
	}
	return made, nil
}

// fill chooses by type first, then by kind.
func (c *compiler) fill(made *codec, form string) error {
	t := made.typ
	switch {
	case form == optText && t.Kind() != reflect.String || form == optCounter && !isInteger(t.Kind()):
		if t.Kind() == reflect.Pointer {
			return c.fillPointer(made, form)
		}
		return fmt.Errorf("the tag %s does not go with %s", form, t)
	case form == optText || t == typeText:
		made.asText()
	case form == optCounter || t == typeCounter:
		made.asInteger("a counter", func(n int64) any { return crdt.Counter(n) })
	case t == typeTime:
		made.asTime()
	case marshals(t, typeTextMarshaler, typeTextUnmarshaler):
		made.asMarshaledText()
	case marshals(t, typeJSONMarshaler, typeJSONUnmarshaler):
		made.asMarshaledJSON()
	default:
		return c.fillKind(made, form)
	}
	return nil
}

// marshals reports whether values of t can be written and read by the methods.
func marshals(t, marshaler, unmarshaler reflect.Type) bool {
	p := reflect.PointerTo(t)
	return t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface && p.Implements(marshaler) && p.Implements(unmarshaler)
}

func (c *compiler) fillKind(made *codec, form string) error {
	t := made.typ
	switch k := t.Kind(); {
	case k == reflect.Bool:
		made.asBool()
	case isInteger(k):
		made.asInteger("an integer", func(n int64) any { return n })
	case k >= reflect.Uint && k <= reflect.Uintptr:
		made.asUnsigned()
	case k == reflect.Float32 || k == reflect.Float64:
		made.asFloat()
	case k == reflect.String:
		made.asString()
	case k == reflect.Interface && t.NumMethod() == 0:
		made.asAny()
	case k == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		made.asBytes()
	case k == reflect.Slice || k == reflect.Array:
		return c.fillList(made)
	case k == reflect.Map:
		return c.fillMap(made)
	case k == reflect.Pointer:
		return c.fillPointer(made, form)
	case k == reflect.Struct:
		return c.fillStruct(made)
	default:
		return fmt.Errorf("no record holds a value of type %s", t)
	}
	return nil
}

func isInteger(k reflect.Kind) bool { return k >= reflect.Int && k <= reflect.Int64 }

func (c *compiler) fillList(made *codec) (err error) {
	made.elem, err = c.codec(codecKey{typ: made.typ.Elem()})
	if err == nil {
		made.asList()
	}
	return err
}

func (c *compiler) fillMap(made *codec) (err error) {
	if made.typ.Key().Kind() != reflect.String {
		return fmt.Errorf("the keys of a map are strings, not %s", made.typ.Key())
	}
	made.elem, err = c.codec(codecKey{typ: made.typ.Elem()})
	if err == nil {
		made.asMap()
	}
	return err
}

func (c *compiler) fillPointer(made *codec, form string) (err error) {
	if made.typ.Elem().Kind() == reflect.Pointer {
		return errors.New("no record holds a pointer to a pointer")
	}
	made.elem, err = c.codec(codecKey{typ: made.typ.Elem(), form: form})
	if err == nil {
		made.asPointer()
	}
	return err
}
