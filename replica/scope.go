package replica

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// carry is what a session carries in one direction: the records that each of its
// scopes covers. It is not changed once made.
type carry struct {
	scopes []scope // without those of everything; nil: everything
	none   bool    // nothing at all
	where  bool    // there are conditions on fields
}

// scope is a transport.Scope with its conditions parsed.
type scope struct {
	transport.Scope
	where [][]condition // of each selector
}

// condition is a transport.Equal, parsed.
type condition struct {
	path  crdt.Path
	value any
}

// carryOf returns an error when a condition is none.
func carryOf(scopes ...transport.Scope) (*carry, error) {
	c := &carry{}
	for _, s := range scopes {
		c.none = c.none || s.None()
		if s.All {
			continue
		}
		parsed := scope{s, make([][]condition, len(s.Only))}
		for i, sel := range s.Only {
			for _, w := range sel.Where {
				path, err := crdt.ParsePath(w.Field)
				if err != nil {
					return nil, fmt.Errorf("%w: %w", ErrSelector, err)
				}
				value, err := crdt.ParseJSON([]byte(w.Value))
				if err != nil {
					return nil, fmt.Errorf("%w: the value of %s: %w", ErrSelector, w.Field, err)
				}
				parsed.where[i] = append(parsed.where[i], condition{path, value})
				c.where = true
			}
		}
		c.scopes = append(c.scopes, parsed)
	}
	return c, nil
}

// all reports whether everything is carried.
func (c *carry) all() bool { return !c.none && len(c.scopes) == 0 }

// covers reports whether the record may be carried; conditions on fields are not
// looked at. What godwit itself keeps in a space goes wherever anything goes.
func (c *carry) covers(k crdt.Key) bool {
	if c.none {
		return false
	}
	if k.Collection == reserved {
		return true
	}
	for i := range c.scopes {
		if !c.scopes[i].Covers(k) {
			return false
		}
	}
	return true
}

// depends reports whether it takes the value of a record that is covered to say
// whether it is carried.
func (c *carry) depends(k crdt.Key) bool {
	if k.Collection == reserved {
		return len(c.scopes) > 0 && strings.HasPrefix(k.ID, tagsPrefix)
	}
	return c.where
}

// shows reports whether a record that is covered is carried when it has this
// value. The tags of a record go where that goes: they name it.
func (c *carry) shows(k crdt.Key, value json.RawMessage) (bool, error) {
	if value == nil {
		return false, nil
	}
	v, err := crdt.ParseJSON(value)
	if err != nil {
		return false, fmt.Errorf("stored value of %s: %w", k, err)
	}
	if k.Collection == reserved {
		fields, _ := v.(map[string]any)
		collection, _ := fields[tagCollection].(string)
		id, _ := fields[tagID].(string)
		return collection != reserved && c.covers(crdt.Key{Collection: collection, ID: id}), nil
	}
	for i := range c.scopes {
		if !c.scopes[i].shows(k, v) {
			return false, nil
		}
	}
	return true, nil
}

func (s *scope) shows(k crdt.Key, v any) bool {
	for i := range s.Only {
		if !s.Only[i].Covers(k) {
			continue
		}
		met := true
		for _, w := range s.where[i] {
			met = met && w.holds(v)
		}
		if met {
			return true
		}
	}
	return false
}

// holds reports whether the value at the path is the condition's.
func (w *condition) holds(v any) bool {
	for _, step := range w.path {
		switch in := v.(type) {
		case map[string]any:
			field, ok := in[step.Key]
			if step.InList || !ok {
				return false
			}
			v = field
		case []any:
			if !step.InList || step.Index >= len(in) {
				return false
			}
			v = in[step.Index]
		default:
			return false
		}
	}
	return reflect.DeepEqual(v, w.value)
}

// hash names it by its content; that of everything is zero.
func (c *carry) hash() crdt.Hash {
	switch {
	case c.none:
		return nothing
	case len(c.scopes) == 0:
		return crdt.Hash{}
	case len(c.scopes) == 1:
		return c.scopes[0].Hash()
	}
	var b []byte
	for i := range c.scopes {
		h := c.scopes[i].Hash()
		b = append(b, h[:]...)
	}
	return sha256.Sum256(b)
}

// nothing is the hash of a direction in which nothing is sent.
var nothing = transport.Scope{}.Hash()

// sendScope is what this side sends: what the peer wants and may read, and what is
// to be pushed.
func (s *session) sendScope() *carry { return s.out }

// recvScope is what this side takes: what it wants, and the peer may write.
func (s *session) recvScope() *carry { return s.inn }

// agree settles what is carried, when both hellos are known.
func (s *session) agree() (err error) {
	if s.out, err = carryOf(s.them.Want, s.grant.Read, s.push); err != nil {
		return protocolErrorf(transport.CodeProtocol, "%v", err)
	}
	s.inn, err = carryOf(s.want, s.grant.Write)
	return err
}

// look finds out which of the rows' records are covered and not for the peer all
// the same, because of their value. It is that of now, not of the time of the row:
// the value that a change led to is not kept.
func (o *sender) look(ctx context.Context, rows []persist.LogRow) error {
	o.doubt(rows)
	o.hidden = nil
	if o.out.all() {
		return nil
	}
	ask := map[crdt.Key]bool{}
	for i := range rows {
		if k := rows[i].Key; o.out.depends(k) && o.out.covers(k) {
			ask[k] = true
		}
	}
	if len(ask) == 0 {
		return nil
	}
	o.hidden = map[crdt.Key]bool{}
	return translate(o.r.store.Read(ctx, func(rd *persist.Reader) error {
		for k := range ask {
			ok, err := o.out.holds(o.r, rd, k)
			if err != nil {
				return err
			}
			if !ok {
				o.hidden[k] = true
			}
		}
		return nil
	}))
}

// sends reports whether a row is for the peer. A set of which only some rows are
// goes out as a smaller set.
func (o *sender) sends(row *persist.LogRow) bool {
	return shown(row) && o.out.covers(row.Key) && !o.hidden[row.Key]
}
