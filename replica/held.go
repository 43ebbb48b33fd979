package replica

import (
	"context"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// Held is what came from a peer and is not part of any record: a set that waits
// for a dependency, or a change that was refused.
type Held struct {
	Waiting bool // a set that waits, not a refused change
	Peer    crdt.ReplicaID
	Records []crdt.Key // of the set; of a refused change, its own
	Set     crdt.SetID // zero for a refused change
	Hash    crdt.Hash  // of a refused change; zero if it has none
	Code    string     // why it was refused, or "parked"
	Detail  string
	Since   time.Time
}

// Held lists what is held, the sets that wait first, oldest first.
func (r *Replica) Held(ctx context.Context) (all []Held, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		peers, err := rd.Peers()
		if err != nil {
			return err
		}
		names := map[int64]crdt.ReplicaID{0: r.id}
		for _, p := range peers {
			names[p.ID] = p.Replica
		}
		for p, err := range rd.Parked(persist.AllPeers) {
			if err != nil {
				return err
			}
			all = append(all, Held{Waiting: true, Peer: names[p.Peer], Records: p.Waits, Set: p.Set, Code: codeParked, Detail: p.Reason, Since: time.UnixMilli(p.Time)})
		}
		for q, err := range rd.Quarantined(persist.AllPeers) {
			if err != nil {
				return err
			}
			all = append(all, Held{Peer: names[q.Peer], Records: []crdt.Key{q.Key}, Hash: q.Hash, Code: q.Code, Detail: q.Detail, Since: time.UnixMilli(q.Time)})
		}
		return nil
	})
	return all, translate(err)
}
