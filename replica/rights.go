package replica

import (
	"crypto/sha256"
	"fmt"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// mayWrite reports whether the record is one that is taken from the peer.
func (s *session) mayWrite(k crdt.Key) bool {
	return s.inn.covers(k) && (k.Collection != reserved || s.grant.Admin)
}

// trusted reports whether the peer may bring anything.
func (s *session) trusted() bool { return s.inn.all() && s.grant.Relay && s.grant.Admin }

// forbidden returns why the peer may not bring the set, nil if it may. What is held
// already needs no right: it is only passed over. To find that out of a record that
// the peer may not read it has to show the very bytes.
func (s *session) forbidden(b *batch, in *inbound) (*refusal, error) {
	if s.trusted() {
		return nil, nil
	}
	for i, m := range in.wire.Members {
		k, c := crdt.Key{Collection: m.Collection, ID: m.ID}, in.members[i].Change
		ref := s.judge(i, k, c)
		if ref == nil {
			continue
		}
		if c == nil {
			return ref, nil
		}
		e, err := b.entry(k)
		if err != nil {
			return nil, err
		}
		if !e.hist.Has(c.Hash()) {
			return ref, nil
		}
	}
	return nil, nil
}

// judge looks at one member; c is nil if it could not be parsed.
func (s *session) judge(i int, k crdt.Key, c *crdt.Change) *refusal {
	if !s.mayWrite(k) {
		return s.noRight(i, k)
	}
	if c == nil || s.grant.Relay {
		return nil
	}
	if id, ok := c.Actor().Replica(); ok && id == s.them.Replica && id != s.r.id {
		return nil
	}
	return &refusal{member: i, code: transport.CodeRights,
		detail: fmt.Sprintf("actor %s is not one of replica %s, which has no right to relay", c.Actor(), s.them.Replica)}
}

func (s *session) noRight(i int, k crdt.Key) *refusal {
	detail := "no right to write this record"
	if k.Collection == reserved {
		detail = "only admins write the collection " + reserved
	}
	if !carryCovers(s.want, k) {
		detail = "this record was not asked for"
	}
	return &refusal{member: i, code: transport.CodeRights, detail: detail}
}

func carryCovers(s transport.Scope, k crdt.Key) bool {
	return s.Covers(k) || k.Collection == reserved && !s.None()
}

// deny tells the peer of a set that it may not bring. Nothing of it is kept.
func (s *session) deny(in *inbound, ref *refusal) transport.Exception {
	if s.denied++; s.denied == 1 {
		m := in.wire.Members[ref.member]
		s.r.opts.Logger.Warn("refuse a change for lack of rights; more of this session are only counted", logPeer, s.them.Replica,
			logSubject, s.grant.Subject, logRecord, m.Collection+"/"+m.ID, logError, ref.detail)
	}
	return in.exception(ref, transport.Refused)
}

// sayDenied logs how many sets were denied. It is called when the loops are over.
func (s *session) sayDenied() {
	if s.denied > 1 {
		s.r.opts.Logger.Warn("refused change sets for lack of rights", logPeer, s.them.Replica,
			logSubject, s.grant.Subject, logCount, s.denied)
	}
}

// readFilter names what the peer's log is read under: the scope that it sends, and
// what it may write. Under another one than before, what was passed over is missing.
func (s *session) readFilter() crdt.Hash {
	rights := s.grant.Rights()
	if rights == (crdt.Hash{}) {
		return s.filter
	}
	return sha256.Sum256(append(s.filter[:], rights[:]...))
}

// known checks that the replica is the subject's whose it was before, in any of its
// lives: what a peer says of itself is all that tells actors apart. Whoever may relay
// may bring any actor, so nothing is lost if it takes the name over.
func (s *session) known(tx *persist.Tx, p *persist.Peer) error {
	if s.grant.Subject == "" {
		return nil
	}
	lives, err := tx.PeersOf(s.them.Replica)
	if err != nil {
		return err
	}
	for _, life := range lives {
		if life.Subject != "" && life.Subject != s.grant.Subject && !s.grant.Relay {
			return protocolErrorf(transport.CodeAuth, "replica %s is known here as another subject's: use that one's token, or a replica of your own",
				s.them.Replica)
		}
	}
	p.Subject = s.grant.Subject
	return nil
}
