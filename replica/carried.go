package replica

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// Bounds of what is kept of what a peer is sent. Beyond them it counts as sent nothing.
const (
	maxCarried      = 8 // selections
	maxCarriedBytes = 64 << 10
)

// encode writes the carry as persist.Peer.Carried has it: scopes, of which all have to hold
// a record.
func (c *carry) encode() (string, error) {
	if c.all() {
		return "", nil
	}
	b, err := json.Marshal(c.wire())
	if len(c.scopes) > maxCarried || len(b) > maxCarriedBytes {
		return "[{}]", nil
	}
	return string(b), err
}

// carriedTo returns what the peer was sent of this log, as far as its cursor says.
func carriedTo(p *persist.Peer) (*carry, error) {
	if p.Carried == "" {
		return carryOf(transport.Everything())
	}
	var scopes []transport.Scope
	err := json.Unmarshal([]byte(p.Carried), &scopes)
	if err == nil {
		var c *carry
		if c, err = carryOf(scopes...); err == nil {
			return c, nil
		}
	}
	return nil, fmt.Errorf("what peer %s is sent is stored damaged, run doctor: %w", p.Replica, err)
}

// carries computes what is to be written down of what the peer is sent. What it was not sent
// before it is known to have when it says that it has compared.
func (s *session) carries(p *persist.Peer) error {
	before, err := carriedTo(p)
	if err != nil {
		return err
	}
	if s.carried, err = s.out.encode(); err != nil {
		return err
	}
	s.both, err = before.and(s.out).encode()
	return err
}

// has reports whether the peer is sent a record, as its value is now.
func (p *outlookPeer) has(r *Replica, k crdt.Key) bool {
	if p.carried == nil || p.carried.all() {
		return true
	}
	if has, ok := p.known[k]; ok {
		return has
	}
	has := p.carried.covers(k)
	if has && p.carried.depends(k) {
		err := r.store.Read(context.Background(), func(rd *persist.Reader) (err error) {
			has, err = p.carried.holds(r, rd, k)
			return err
		})
		has = has && err == nil // what is not known is no receipt
	}
	p.known[k] = has
	return has
}

// leftOut counts the rows that the peer is not sent, of those that are part of a record.
func (p *outlookPeer) leftOut(r *Replica, rows []persist.LogRow) (n, of int) {
	for i := range rows {
		if rows[i].Withdrawn() {
			continue
		}
		of++
		if !p.has(r, rows[i].Key) {
			n++
		}
	}
	return n, of
}
