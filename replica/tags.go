package replica

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/godwitdb/godwit/crdt"
)

// reserved is the collection of what godwit itself keeps in a space. It
// replicates like any other.
const reserved = "_godwit"

// MaxTagLen bounds the name of a tag, in bytes.
const MaxTagLen = 128

// ErrTag is wrapped by errors about a tag's name.
var ErrTag = errors.New("bad tag")

// Tag is a name for a point in a record's history.
type Tag struct {
	Name  string
	Heads crdt.Heads
}

// The tags of a record are the fields of another one, a field for each, so that
// tags which are set at the same time on different replicas merge. Its ID is a
// hash because a key is longer than an ID may be; the key stands in it for people.
const (
	tagsPrefix    = "tags-" // of the IDs
	tagPrefix     = "tag:"
	tagCollection = "collection"
	tagID         = "id"
)

func tagsKey(k crdt.Key) crdt.Key { return tagsKeyOf(nameHash(k)) }

// tagsKeyOf is tagsKey for a record of which nameHash is known.
func tagsKeyOf(h crdt.Hash) crdt.Key {
	return crdt.Key{Collection: reserved, ID: tagsPrefix + hex.EncodeToString(h[:16])}
}

// tagsOf returns how the nameHash of the record begins whose tags another one holds, if
// it does.
func tagsOf(k crdt.Key) (prefix []byte, ok bool) {
	text, ok := strings.CutPrefix(k.ID, tagsPrefix)
	prefix, err := hex.DecodeString(text)
	return prefix, ok && err == nil && len(prefix) == 16
}

// Tag names a point in a record's history, for every replica of the space. A name
// that is in use moves. The heads have to be held, and the name must be no number,
// time or hash: ErrTag says what is wrong with it.
func (r *Replica) Tag(ctx context.Context, k crdt.Key, name string, heads crdt.Heads) error {
	err := checkTag(name)
	var h *crdt.History
	if err == nil {
		h, _, err = r.historyUnder(ctx, k)
	}
	if err == nil {
		h, err = h.At(heads)
	}
	if err == nil && h.Len() == 0 {
		err = fmt.Errorf("%w: the record had no changes yet", ErrPoint)
	}
	if err != nil {
		return recordError("tag", k, err)
	}
	var b strings.Builder
	for i, hash := range h.Heads() {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(hash.String())
	}
	fields := map[string]any{tagCollection: k.Collection, tagID: k.ID, tagPrefix + name: b.String()}
	return r.Update(ctx, func(tx *Tx) error {
		return tx.edit(tagsKey(k), func(e *crdt.Edit) error { return e.Put(nil, fields, crdt.Merge) })
	})
}

// Untag removes a tag. ErrPoint if there is none of this name.
func (r *Replica) Untag(ctx context.Context, k crdt.Key, name string) error {
	tags, err := r.tags(ctx, k)
	if _, ok := tags[name]; err == nil && !ok {
		err = fmt.Errorf("%w: there is no tag %q; %s", ErrPoint, name, listTags(tags))
	}
	if err != nil {
		return recordError("untag", k, err)
	}
	return r.Update(ctx, func(tx *Tx) error {
		return tx.edit(tagsKey(k), func(e *crdt.Edit) error { return e.Delete(crdt.Path{{Key: tagPrefix + name}}) })
	})
}

// Tags returns the record's tags by name. They may come before what they name:
// heads that are not held yet are in the list too.
func (r *Replica) Tags(ctx context.Context, k crdt.Key) ([]Tag, error) {
	tags, err := r.tags(ctx, k)
	var list []Tag
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, Tag{name, tags[name]})
	}
	return list, recordError("tags of", k, err)
}

// tags reads the tags of a record. Fields that are none, which another program may
// have written, do not count.
func (r *Replica) tags(ctx context.Context, k crdt.Key) (map[string]crdt.Heads, error) {
	if err := k.Valid(); err != nil {
		return nil, err
	}
	text, err := r.Get(ctx, tagsKey(k))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v, err := crdt.ParseJSON(text)
	if err != nil {
		return nil, err
	}
	fields, _ := v.(map[string]any)
	tags := map[string]crdt.Heads{}
	for key, v := range fields {
		name, ok := strings.CutPrefix(key, tagPrefix)
		s, isString := v.(string)
		if !ok || !isString || checkTag(name) != nil {
			continue
		}
		if heads, ok := parseHeads(s); ok {
			tags[name] = heads
		}
	}
	return tags, nil
}

func checkTag(name string) error {
	_, isTime := parseTime(name)
	_, isHeads := parseHeads(name)
	switch {
	case name == "" || len(name) > MaxTagLen:
		return fmt.Errorf("%w: a name has 1 to %d bytes", ErrTag, MaxTagLen)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r == ',' || !unicode.IsPrint(r) }):
		return fmt.Errorf("%w: the name %q has a comma or an unprintable character", ErrTag, name)
	case isTime || isHeads:
		return fmt.Errorf("%w: the name %q reads as a time or as heads", ErrTag, name)
	}
	return nil
}

func listTags(tags map[string]crdt.Heads) string {
	if len(tags) == 0 {
		return "the record has no tags"
	}
	const most = 20
	names := slices.Sorted(maps.Keys(tags))
	if len(names) > most {
		names = append(names[:most], "...")
	}
	return "its tags are " + strings.Join(names, ", ")
}
