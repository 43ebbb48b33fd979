package crdt

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// object is a map, list or text: the root, or what a make operation made.
type object struct {
	id      opID
	kind    Action // MakeMap, MakeList or MakeText
	depth   uint8  // of nesting; the root has 0
	fields  fieldSet
	visible int // fields with a visible operation
	seq     *sequence
}

// textWidth returns how many code points an element of a text shows.
func (o *Op) textWidth() int32 {
	if o.Action != Set || o.Value.kind != KindString {
		return 1 // shown as U+FFFC
	}
	if len(o.Value.str) == 1 {
		return 1
	}
	return int32(utf8.RuneCountInString(o.Value.str))
}

// smallMap is how many fields are kept in order, without an index.
const smallMap = 64

// fieldSet is a map's keys: a sorted slice, and beyond smallMap an index with the
// order computed when it is asked for.
type fieldSet struct {
	list  []field
	index map[string]uint32
	order []uint32
}

// field is a key that was ever written.
type field struct {
	key  string
	slot slot
}

// get returns the slot of a key, nil if it was never written. It is valid until
// the next call of put.
func (f *fieldSet) get(key string) *slot {
	if f.index != nil {
		if i, ok := f.index[key]; ok {
			return &f.list[i].slot
		}
		return nil
	}
	if i, ok := f.search(key); ok {
		return &f.list[i].slot
	}
	return nil
}

func (f *fieldSet) search(key string) (int, bool) {
	return slices.BinarySearchFunc(f.list, key, func(f field, key string) int {
		return strings.Compare(f.key, key)
	})
}

// put returns the slot of a key, a new one if there was none.
func (f *fieldSet) put(key string) *slot {
	if f.index != nil {
		if i, ok := f.index[key]; ok {
			return &f.list[i].slot
		}
		i := uint32(len(f.list))
		f.index[key] = i
		f.list = append(f.list, field{key: key})
		return &f.list[i].slot
	}
	i, ok := f.search(key)
	if ok {
		return &f.list[i].slot
	}
	f.list = slices.Insert(f.list, i, field{key: key})
	s := &f.list[i].slot
	if len(f.list) > smallMap {
		f.index = make(map[string]uint32, 2*smallMap)
		for i := range f.list {
			f.index[f.list[i].key] = uint32(i)
		}
	}
	return s
}

// all calls yield for each key in ascending order. The set must not change
// meanwhile.
func (f *fieldSet) all(yield func(*field) bool) {
	if f.index == nil {
		for i := range f.list {
			if !yield(&f.list[i]) {
				return
			}
		}
		return
	}
	if len(f.order) < len(f.list) {
		for i := len(f.order); i < len(f.list); i++ {
			f.order = append(f.order, uint32(i))
		}
		slices.SortFunc(f.order, func(a, b uint32) int {
			return strings.Compare(f.list[a].key, f.list[b].key)
		})
	}
	for _, i := range f.order {
		if !yield(&f.list[i]) {
			return
		}
	}
}
