package replica

import "context"

// plant names a bug that the simulation (internal/sim) plants to prove that it
// finds bugs of its kind. Without the build tag plantedbugs, bug is constant
// and the compiler leaves none of it.
type plant int

const (
	noBug             plant = iota
	bugDropChange           // a change of some sets is not sent
	bugCursorAlone          // the cursor moves on over some frames whose data is not taken
	bugHeldUnsent           // what any peer sent counts as held by every peer
	bugForgetParked         // a parked set is acknowledged and not kept
	bugResendLate           // a resend begins some changes too late
	bugIgnoreResend         // nothing is ever sent again within a session
	bugBlindCursor          // a peer's cursor is believed, whatever its chain says
	bugHalfSet              // the last change of some sets is not taken
	bugKeepRolledBack       // memory keeps what a failed update did
	bugStaleView            // the stored value of some records does not follow
	bugWrongWinner          // replicas with the same policy pick different winners
	bugLostWakeUp           // some commits wake nobody
	bugReuseActor           // a new opening goes on with the last one's actor
	bugSkipRange            // reconciliation passes over some ranges
	bugStalePrint           // the prints of some records do not follow
	bugNeedForgets          // some sets that reconciliation finds missing are not sent
	bugClockBack            // the clock goes back when the wall clock does
	bugClockDragged         // a remote clock moves this one as far as it likes
	bugForgetNeeded         // records are forgotten that the keeper does not hold
	bugForgedActor          // changes in this replica's own name are taken from others
	bugSkipAck              // some acknowledgements are not sent
	bugAckEarly             // an update is acknowledged before it is committed
	bugWatchAhead           // a watcher's cursor is one too far after some reads
	bugRebuildLeaves        // some stored values do not follow a new policy
	bugPurgeUndone          // changes of purged records are taken
)

// commitLater returns when fn was run, whatever becomes of its transaction: bugAckEarly.
func (r *Replica) commitLater(ctx context.Context, fn func(*batch) error) error {
	answer := make(chan error, 2)
	commit := func() {
		answer <- r.commitNow(ctx, 0, func(b *batch) error {
			err := fn(b)
			if err == nil {
				answer <- nil
			}
			return err
		})
	}
	if !r.goRun(commit) {
		commit()
	}
	return <-answer
}
