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
			if !isRefusal(f.Code) {
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

// isRefusal reports whether what is kept among the refusals under a code is one. Else it
// is only no receipt, and keeps nothing from being sent: the peer has forgotten the record,
// or has the change wait for another.
func isRefusal(code string) bool { return code != codeForgotten && code != codeParked }

// refused is what the peer is not known to have taken since it refused it.
type refused map[refusedChange]*standing

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

	again  bool     // it was offered again, and the peer has not said yet what came of it
	with   crdt.LSN // if that was in the order of the log, where its set ends
	pulled bool     // the peer had asked for it: it compares itself
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
		s.refused[refusedChange{f.Key, f.Hash}] = &standing{id: f.ID, rights: f.Rights, lsn: f.LSN, code: f.Code}
		if isRefusal(f.Code) {
			s.counts.Refused++
			s.refusals = append(s.refusals, transport.Exception{Collection: f.Key.Collection, ID: f.Key.ID, Hash: f.Hash, State: transport.Refused, Code: f.Code, Detail: f.Detail})
		}
	}
	return nil
}

// offers reports whether a set may be sent: not if the peer refused it, its rights are
// what they were, and so is the record. Without a reader the set goes in the order of the
// log, and it is not known whether the record has changed. pulled says that the peer has
// asked for it. What was refused and is offered again stays refused until the peer is known
// to have it: until then it may refuse it anew.
func (s *session) offers(rd *persist.Reader, rows []persist.LogRow, pulled bool) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 0; i < len(rows) && len(s.refused) > 0; i++ {
		change := refusedChange{rows[i].Key, rows[i].Hash}
		was := s.refused[change]
		if was == nil || !isRefusal(was.code) {
			continue
		}
		if !was.again && was.rights == s.them.Rights {
			if rd == nil {
				return false, nil
			}
			rec, err := rd.Record(change.key)
			if err != nil || rec != nil && rec.LSN == was.lsn {
				return false, err
			}
		}
		s.offer(was)
		was.pulled = was.pulled || pulled
		if rd == nil {
			was.with = rows[len(rows)-1].LSN
		}
	}
	return true, nil
}

// refusedOf reports whether a refusal of one of the rows stands.
func (s *session) refusedOf(rows []persist.LogRow) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(rows, func(l persist.LogRow) bool {
		was := s.refused[refusedChange{l.Key, l.Hash}]
		return was != nil && isRefusal(was.code)
	})
}

// offer has what was refused be offered again. The caller holds mu.
func (s *session) offer(was *standing) {
	if !was.again && isRefusal(was.code) {
		s.counts.Refused--
		was.again = true
	}
}

// lift has a refusal stand no more: the peer is known to have the change. The caller holds
// mu.
func (s *session) lift(change refusedChange) {
	was := s.refused[change]
	s.offer(was)
	s.retried = append(s.retried, was.id)
	delete(s.refused, change)
}

// landed lifts refusals of what was sent in the order of the log and acknowledged, without
// being refused anew. The caller holds mu.
func (s *session) landed(through crdt.LSN) {
	for change, was := range s.refused {
		if was.with > 0 && was.with <= through {
			s.lift(change)
		}
	}
}

// vouched lifts refusals of what the peer must have when it says that it has compared, and
// lacks nothing: what it had asked for, and what waited there. The caller holds mu.
func (s *session) vouched() {
	for change, was := range s.refused {
		if was.pulled || was.code == codeParked {
			s.lift(change)
		}
	}
}

// forgive has what was refused be offered again, but for those for lack of rights: the peer's file is an older
// copy of the one that refused. What was noted there with a refusal may be lost, such as
// a fork, which is repaired only where it is known.
func (s *session) forgive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, was := range s.refused {
		if was.code != transport.CodeRights {
			s.offer(was)
		}
	}
}

// forgetRetried drops the refusals of what the peer has taken since.
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

// noted reports whether an exception is kept. What the peer has purged is as good as there.
func noted(x transport.Exception) bool {
	return x.State == transport.Refused && x.Code != codePurged || x.State == transport.Parked && x.Code == codeParked
}

// note keeps what the peer refused, or has wait.
func (s *session) note(ctx context.Context, all []transport.Exception) error {
	if !slices.ContainsFunc(all, noted) {
		return nil
	}
	return s.r.commit(ctx, 0, func(b *batch) error {
		var rows []*persist.Refusal
		for _, x := range all {
			k := crdt.Key{Collection: x.Collection, ID: x.ID}
			if !noted(x) || !s.out.covers(k) {
				continue
			}
			rec, err := recordOf(&b.tx.Reader, k)
			if err != nil {
				return err
			}
			if rec == nil {
				continue // it was never sent, or abandoned since
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

// noteStubs keeps what the peer lacks of records that it has forgotten, which it was not
// sent: that is no receipt.
func (s *session) noteStubs(ctx context.Context, stubs []transport.Have) error {
	if len(stubs) == 0 {
		return nil
	}
	var all []transport.Exception
	err := s.r.store.Read(ctx, func(rd *persist.Reader) error {
		for i := range stubs {
			rec, err := rd.Record(stubs[i].Key)
			if err != nil || rec == nil {
				return err
			}
			lacks, err := lackedBy(rd, rec, stubs[i].Clock)
			if err != nil {
				return err
			}
			for _, h := range lacks {
				all = append(all, transport.Exception{Collection: rec.Key.Collection, ID: rec.Key.ID, Hash: h,
					State: transport.Refused, Code: codeForgotten, Detail: "the peer has forgotten the record"})
			}
		}
		return nil
	})
	if err != nil {
		return translate(err)
	}
	return s.note(ctx, all)
}

// lackedBy returns the changes of a record that a clock does not count, the latest first, at
// most persist.MaxRefusals.
func lackedBy(rd *persist.Reader, rec *persist.Record, clock crdt.Clock) (all []crdt.Hash, err error) {
	missing := beyond(rec.Clock, clock)
	for row, err := range rd.ChangesBack(rec.RID) {
		if err != nil || missing == 0 || len(all) == persist.MaxRefusals {
			return all, err
		}
		c, err := crdt.ParseChange(row.Data)
		if err != nil {
			continue // damaged: doctor finds it
		}
		if c.Seq() > clock[c.Actor()] {
			all, missing = append(all, c.Hash()), missing-1
		}
	}
	return all, nil
}

func (s *session) remember(rows []*persist.Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.refused)+len(rows) > persist.MaxRefusals {
		clear(s.refused) // a peer that refuses that much is offered some of it again
	}
	for _, f := range rows {
		s.refused[refusedChange{f.Key, f.Hash}] = &standing{id: f.ID, rights: f.Rights, lsn: f.LSN, code: f.Code}
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

// absolve lifts refusals of records that a run found equal: the peer has taken the changes
// since, or has them from elsewhere. A blind run does not see what the peer lacks. The
// caller holds mu.
func (s *session) absolve(run *run) {
	if run.blind || !run.complete() || run.differing > len(run.left) || s.compares() {
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
