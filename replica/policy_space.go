package replica

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// The space's policies are ordinary records, one a collection, that replicate like
// all others: so every replica shows the same. Their collection is reserved.
const (
	spaceCollection   = "_godwit"
	spacePolicyPrefix = "policy-"
)

func spacePolicyKey(collection string) crdt.Key {
	return crdt.Key{Collection: spaceCollection, ID: spacePolicyPrefix + collection}
}

// SpacePolicy returns the policy that the space gives a collection; the zero
// Policy if it gives none, or one that cannot be read (see Check).
func (r *Replica) SpacePolicy(ctx context.Context, collection string) (p crdt.Policy, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		p, err = spacePolicy(rd, collection)
		return err
	})
	return p, translate(err)
}

// SetSpacePolicy changes how every replica of the space shows the collection,
// unless it has a policy of its own. It is written to a record of the reserved
// collection _godwit, which replicates, and settled like any other record if two
// do so at once. It returns when the stored values here follow; a replica that
// receives it rebuilds them in the background.
func (r *Replica) SetSpacePolicy(ctx context.Context, collection string, p crdt.Policy, progress func(done int)) error {
	err := r.writeSpacePolicy(ctx, collection, p)
	if err == nil {
		err = r.rebuild(ctx, collection, progress)
	}
	if err != nil {
		return fmt.Errorf("set the space's policy of %s: %w", collection, err)
	}
	return nil
}

func (r *Replica) writeSpacePolicy(ctx context.Context, collection string, p crdt.Policy) error {
	if strings.HasPrefix(collection, "_") {
		return ErrReserved
	}
	if _, err := r.compile(p); err != nil {
		return err
	}
	p.Version = crdt.PolicyVersion // never without fields: that would be no record
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	value, err := crdt.ParseJSON(text)
	if err != nil {
		return err
	}
	return r.Update(ctx, func(tx *Tx) error {
		return tx.edit(spacePolicyKey(collection), func(e *crdt.Edit) error { return e.Put(nil, value, crdt.Replace) })
	})
}

// spaceText returns the space's policy of a collection as it is stored.
func spaceText(rd *persist.Reader, collection string) ([]byte, error) {
	if strings.HasPrefix(collection, "_") {
		return nil, nil
	}
	rec, err := rd.Record(spacePolicyKey(collection))
	if err != nil || rec == nil || rec.Deleted {
		return nil, err
	}
	return rec.JSON, nil
}

// spacePolicy reads the space's policy of a collection. What cannot be read is
// ignored, whoever wrote it.
func spacePolicy(rd *persist.Reader, collection string) (crdt.Policy, error) {
	text, err := spaceText(rd, collection)
	if err != nil || text == nil {
		return crdt.Policy{}, err
	}
	p, err := crdt.ParsePolicy(text)
	if err != nil {
		return crdt.Policy{}, nil
	}
	return p, nil
}

// policyChanged makes the stored values of a collection stale when its policy in
// the space was written, here or by a peer, and has them rebuilt.
func (b *batch) policyChanged(k crdt.Key, before, after []byte) error {
	collection, ok := strings.CutPrefix(k.ID, spacePolicyPrefix)
	if k.Collection != spaceCollection || !ok || bytes.Equal(before, after) {
		return nil
	}
	forget := func() { delete(b.w.views, collection) }
	b.tx.OnRollback(forget)
	forget()
	text, _, err := b.tx.Policy(collection)
	if err != nil || len(text) > 0 { // this replica's own counts
		return err
	}
	b.tx.OnCommit(b.w.r.rebuildSoon)
	_, err = b.tx.RenewPolicy(collection)
	return err
}

// checkSpacePolicy reports a policy that is ignored.
func checkSpacePolicy(rec *persist.Record, each func(Problem)) {
	collection, ok := strings.CutPrefix(rec.Key.ID, spacePolicyPrefix)
	if rec.Key.Collection != spaceCollection || !ok || rec.Deleted {
		return
	}
	if _, err := crdt.ParsePolicy(rec.JSON); err != nil {
		each(Problem{Kind: "policy", Key: rec.Key, LSN: rec.LSN, Detail: "it is ignored: " + err.Error(),
			Advice: "set it anew: godwit policy --space " + collection + " RESOLVER"})
	}
}
