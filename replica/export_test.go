package replica

import (
	"context"
	"time"

	"github.com/godwitdb/godwit/crdt"
)

// PlaceOf is where reconciliation has a record.
func PlaceOf(k crdt.Key) uint64 { return placeOf(k) }

// PutSpaceRecord writes JSON to a record of the reserved collection, as a peer
// might that keeps to no rules.
func (r *Replica) PutSpaceRecord(ctx context.Context, id, text string) error {
	v, err := crdt.ParseJSON([]byte(text))
	if err != nil {
		return err
	}
	return r.Update(ctx, func(tx *Tx) error {
		return tx.edit(crdt.Key{Collection: spaceCollection, ID: id}, func(e *crdt.Edit) error { return e.Put(nil, v, crdt.Replace) })
	})
}

// AckEvery is the least time between two acknowledgements of what is sent live.
const AckEvery = ackEvery

// AckPace is for programs that speak the protocol by hand and acknowledge as a session does.
type AckPace struct{ pace ackPace }

// Applied notes a frame, and returns how long its acknowledgement is to be held back.
func (a *AckPace) Applied(bytes int) time.Duration {
	a.pace.applied(bytes)
	return a.pace.wait(time.Now())
}

// Sent notes that one goes out.
func (a *AckPace) Sent() { a.pace.sent(time.Now()) }

// Closing is closed when Close begins.
func (r *Replica) Closing() <-chan struct{} { return r.ctx.Done() }
