package replica

import (
	"context"
	"slices"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// Refusal is a change of this replica that a peer did not take. It is offered to
// the peer again when what the peer lets this replica write changes, or when the
// record does.
type Refusal struct {
	Peer   crdt.ReplicaID
	Link   string // the path that led to it last
	Key    crdt.Key
	Hash   crdt.Hash // the change at fault; its whole change set was refused
	Code   string    // why: transport.CodeRights, or that of an invalid change
	Detail string
	Since  time.Time
}

// Refusals lists what peers did not take, oldest first; of each peer the last
// persist.MaxRefusals.
func (r *Replica) Refusals(ctx context.Context) (all []Refusal, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		peers, err := rd.Peers()
		if err != nil {
			return err
		}
		byID := map[int64]persist.Peer{}
		for _, p := range peers {
			byID[p.ID] = p
		}
		for f, err := range rd.Refusals(persist.AllPeers) {
			if err != nil {
				return err
			}
			if f.Code == codeForgotten {
				continue
			}
			p := byID[f.Peer]
			all = append(all, Refusal{Peer: p.Replica, Link: p.Name, Key: f.Key, Hash: f.Hash, Code: f.Code, Detail: f.Detail,
				Since: time.UnixMilli(f.Time)})
		}
		return nil
	})
	return all, translate(err)
}

// refused is what the peer refused and was not offered again since.
type refused map[refusedChange]standing

// damaged reports whether a change was not sent since it is damaged in this file.
func (r refused) damaged() bool {
	for _, was := range r {
		if was.code == codeDamaged {
			return true
		}
	}
	return false
}

type refusedChange struct {
	key  crdt.Key
	hash crdt.Hash
}

// standing says under what circumstances a change was refused.
type standing struct {
	id     int64 // of the row
	rights crdt.Hash
	lsn    crdt.LSN // where the record stood
	code   string   // why
}

// recall reads what the peer refused.
func (s *session) recall(tx *persist.Tx) error {
	s.refused, s.counts.Refused = refused{}, 0
	for f, err := range tx.Refusals(s.peer.ID) {
		if err != nil {
			return err
		}
		if !s.out.covers(f.Key) {
			continue
		}
		s.refused[refusedChange{f.Key, f.Hash}] = standing{f.ID, f.Rights, f.LSN, f.Code}
		if f.Code != codeForgotten {
			s.counts.Refused++
			s.refusals = append(s.refusals, transport.Exception{Collection: f.Key.Collection, ID: f.Key.ID, Hash: f.Hash, State: transport.Refused, Code: f.Code, Detail: f.Detail})
		}
	}
	return nil
}

// offers reports whether a set may be sent: not if the peer refused it, its rights are
// what they were, and so is the record. Without a reader it is not known whether the
// record has changed. A refusal that does not stand any more is forgotten: if it still
// holds, the peer tells it anew.
func (s *session) offers(rd *persist.Reader, rows []persist.LogRow) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 0; i < len(rows) && len(s.refused) > 0; i++ {
		change := refusedChange{rows[i].Key, rows[i].Hash}
		was, ok := s.refused[change]
		if !ok || was.code == codeForgotten { // that is no receipt, and holds nothing back
			continue
		}
		if was.rights == s.them.Rights {
			if rd == nil {
				return false, nil
			}
			rec, err := rd.Record(change.key)
			if err != nil || rec != nil && rec.LSN == was.lsn {
				return false, err
			}
		}
		s.lift(change)
	}
	return true, nil
}

// lift has a refusal stand no more. The caller holds mu.
func (s *session) lift(change refusedChange) {
	was := s.refused[change]
	s.retried = append(s.retried, was.id)
	delete(s.refused, change)
	if was.code != codeForgotten {
		s.counts.Refused--
	}
}

// forgive forgets refusals, but for those for lack of rights: the peer's file is an older
// copy of the one that refused. What was noted there with a refusal may be lost, such as
// a fork, which is repaired only where it is known.
func (s *session) forgive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for change, was := range s.refused {
		if was.code != transport.CodeRights {
			s.lift(change)
		}
	}
}

// forgetRetried drops the refusals of what was offered again.
func (s *session) forgetRetried(tx *persist.Tx) error {
	s.mu.Lock()
	ids := s.retried
	s.retried = nil
	s.mu.Unlock()
	tx.OnRollback(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.retried = append(s.retried, ids...)
	})
	for _, id := range ids {
		if err := tx.DropRefusal(id); err != nil {
			return err
		}
	}
	return nil
}

// note keeps what the peer refused. What it has purged is as good as there.
func (s *session) note(ctx context.Context, all []transport.Exception) error {
	if !slices.ContainsFunc(all, func(x transport.Exception) bool { return x.State == transport.Refused && x.Code != codePurged }) {
		return nil
	}
	return s.r.commit(ctx, 0, func(b *batch) error {
		var rows []*persist.Refusal
		for _, x := range all {
			k := crdt.Key{Collection: x.Collection, ID: x.ID}
			if x.State != transport.Refused || x.Code == codePurged || !s.out.covers(k) {
				continue
			}
			rec, err := b.tx.Record(k)
			if err != nil {
				return err
			}
			if rec == nil {
				continue // it was never sent
			}
			if purged, err := b.purged(k); err != nil {
				return err
			} else if purged {
				continue // since it was sent
			}
			rows = append(rows, &persist.Refusal{Key: k, Hash: x.Hash, Rights: s.them.Rights, LSN: rec.LSN,
				Code: x.Code, Detail: x.Detail, Time: s.r.opts.Now().UnixMilli()})
		}
		b.tx.OnCommit(func() { s.remember(rows) })
		return b.tx.PutRefusals(s.peerID, rows)
	})
}

func (s *session) remember(rows []*persist.Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.refused)+len(rows) > persist.MaxRefusals {
		clear(s.refused) // a peer that refuses that much is offered some of it again
	}
	for _, f := range rows {
		s.refused[refusedChange{f.Key, f.Hash}] = standing{f.ID, f.Rights, f.LSN, f.Code}
	}
}

// keptBack remembers of which records a set is not sent because it was refused: it
// explains why they stay different.
func (s *session) keptBack(u *supply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range u.haves {
		if h.Kept && len(s.turned) < maxTurned {
			s.turned[h.Key] = "the peer refused a change of it"
		}
	}
}

// absolve forgets refusals of records that a run found equal: the peer has the changes
// from elsewhere. The caller holds mu.
func (s *session) absolve(run *run) {
	if !run.complete() || run.differing > len(run.left) || s.compares() {
		return
	}
	differs := map[crdt.Key]bool{}
	for _, d := range run.left {
		differs[d.Key] = true
	}
	for change := range s.refused {
		if run.of.covers(change.key) && !differs[change.key] {
			s.lift(change)
		}
	}
}
