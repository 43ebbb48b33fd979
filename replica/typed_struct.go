package replica

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/godwitdb/godwit/crdt"
)

// Options of a field's tag, behind its name: godwit:"name,omitempty,text".
const (
	optOmitEmpty = "omitempty" // a zero value is no field
	optText      = "text"      // a string that is edited character by character
	optCounter   = "counter"   // an integer that concurrent increments add up on
	optID        = "id"        // the record's id; in a list's elements, what tells them apart
	optIndex     = "index"     // queries over it use an index
	optPlain     = "plain"     // stored readable in an encrypted file
)

// field is a field of a struct.
type field struct {
	name      string
	index     []int // as of reflect.Value.FieldByIndex
	omitEmpty bool
	indexed   bool
	plain     bool
	codec     *codec
}

func (c *compiler) fillStruct(made *codec) error {
	made.byName = map[string]*field{}
	if err := c.addFields(made, made.typ, nil); err != nil {
		return err
	}
	if len(made.byName) == 0 && made.typ.NumField() > 0 {
		return fmt.Errorf("%s has no fields that a record holds", made.typ)
	}
	made.fields = make([]*field, 0, len(made.byName))
	for _, f := range made.byName {
		made.fields = append(made.fields, f)
	}
	slices.SortFunc(made.fields, func(a, b *field) int { return strings.Compare(a.name, b.name) })
	made.asStruct()
	return nil
}

// addFields adds the fields of t, which is made's type or embedded in it. Fields of
// an outer struct hide those of embedded ones.
func (c *compiler) addFields(made *codec, t reflect.Type, index []int) error {
	own := map[string]bool{}
	var embedded []reflect.StructField
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, err := parseTag(sf)
		if err != nil {
			return fmt.Errorf("%s.%s: %w", t, sf.Name, err)
		}
		switch {
		case tag.skip:
			continue
		case sf.Anonymous && tag.name == "" && structOf(sf.Type) != nil && !marshals(structOf(sf.Type), typeTextMarshaler, typeTextUnmarshaler):
			embedded = append(embedded, sf)
			continue
		case !sf.IsExported():
			continue
		}
		if tag.name == "" {
			tag.name = sf.Name
		}
		if own[tag.name] {
			return fmt.Errorf("%s has two fields named %q", t, tag.name)
		}
		own[tag.name] = true
		if made.byName[tag.name] != nil {
			continue
		}
		if err := c.addField(made, sf, tag, index); err != nil {
			return fmt.Errorf("%s.%s: %w", t, sf.Name, err)
		}
	}
	for _, sf := range embedded {
		if sf.Type.Kind() == reflect.Pointer && !sf.IsExported() {
			return fmt.Errorf("%s.%s: an embedded pointer has to be exported", t, sf.Name)
		}
		if len(index) > crdt.MaxDepth {
			return fmt.Errorf("%s embeds itself", t)
		}
		if err := c.addFields(made, structOf(sf.Type), append(slices.Clone(index), sf.Index...)); err != nil {
			return err
		}
	}
	return nil
}

func (c *compiler) addField(made *codec, sf reflect.StructField, tag tag, index []int) error {
	f := &field{name: tag.name, index: append(slices.Clone(index), sf.Index...),
		omitEmpty: tag.omitEmpty, indexed: tag.index, plain: tag.plain}
	var err error
	if f.codec, err = c.codec(codecKey{sf.Type, tag.form}); err != nil {
		return err
	}
	if tag.id {
		if made.identity != "" {
			return fmt.Errorf("the field %s is tagged id as well", made.identity)
		}
		made.identity = f.name
	}
	made.byName[f.name] = f
	return nil
}

// structOf returns the struct type that t is or points to, nil if neither.
func structOf(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == typeTime {
		return nil
	}
	return t
}

// tag is what a field's tags say.
type tag struct {
	name, form       string
	skip, omitEmpty  bool
	id, index, plain bool
}

// parseTag reads the tag godwit, and json's name and omitempty where that has none.
func parseTag(sf reflect.StructField) (t tag, err error) {
	own, hasOwn := sf.Tag.Lookup("godwit")
	jsonTag := sf.Tag.Get("json")
	name, options, _ := strings.Cut(own, ",")
	jsonName, jsonOptions, _ := strings.Cut(jsonTag, ",")
	t.skip = own == "-" || !hasOwn && jsonTag == "-"
	if t.name = name; name == "" && jsonTag != "-" {
		t.name = jsonName
	}
	for o := range strings.SplitSeq(jsonOptions, ",") {
		t.omitEmpty = t.omitEmpty || o == optOmitEmpty || o == "omitzero"
	}
	if options == "" {
		return t, nil
	}
	for o := range strings.SplitSeq(options, ",") {
		switch o {
		case optOmitEmpty:
			t.omitEmpty = true
		case optText, optCounter:
			t.form = o
		case optID:
			t.id = true
		case optIndex:
			t.index = true
		case optPlain:
			t.plain = true
		default:
			return t, fmt.Errorf("the tag godwit has no option %q", o)
		}
	}
	return t, nil
}

// isEmpty reports whether omitempty leaves the value out: zero values, and lists
// and maps without elements.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Map, reflect.Slice:
		return v.Len() == 0
	}
	return v.IsZero()
}

// in returns the field's value in a struct, for reading: invalid if a nil pointer
// is on the way.
func (f *field) in(v reflect.Value) reflect.Value {
	if len(f.index) == 1 {
		return v.Field(f.index[0])
	}
	found, err := v.FieldByIndexErr(f.index)
	if err != nil {
		return reflect.Value{}
	}
	return found
}

// of returns the field's value in a struct, for writing: pointers to embedded structs
// are set on the way.
func (f *field) of(v reflect.Value) reflect.Value {
	for i, n := range f.index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(n)
	}
	return v
}

func (c *codec) asStruct() {
	c.want = "a map"
	c.decode = func(d *jsonReader, v reflect.Value) {
		next := 0 // stored keys are sorted, as the fields are
		d.object(c, v, func(key string) {
			for next < len(c.fields) && c.fields[next].name < key {
				next++
			}
			f := c.byName[key]
			if next < len(c.fields) && c.fields[next].name == key {
				f = c.fields[next]
			}
			if f == nil {
				d.skip()
				return
			}
			f.codec.decode(d, f.of(v))
		})
	}
	c.encode = func(e *encoder, v reflect.Value) any {
		out := make(map[string]any, len(c.fields))
		for _, f := range c.fields {
			fv := f.in(v)
			if !fv.IsValid() || f.omitEmpty && isEmpty(fv) {
				continue
			}
			if tree := e.field(f.name, f.codec, fv); tree != (omitted{}) {
				out[f.name] = tree
			}
		}
		return out
	}
}
