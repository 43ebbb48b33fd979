package sim_test

import (
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
)

// checkTimes holds the times of the node's own changes against its clock: they never go
// back within a record and a life, and are never ahead of the latest that the clock showed by more
// than what peers may drag it.
func (n *node) checkTimes(log []persist.LogRow) {
	n.setClock(time.Duration(n.off.Load())) // to have looked at it
	type author struct {                    // of a record: what was made and deleted unseen is logged anew when it comes back
		key   crdt.Key
		actor crdt.ActorID
	}
	last := map[author]int64{}
	for _, row := range log {
		if row.Source != 0 || len(row.Data) == 0 {
			continue
		}
		c, err := crdt.ParseChange(row.Data)
		need(err, "%s: parse %s of %s", n, row.Hash, row.Key)
		if before, ok := last[author{row.Key, c.Actor()}]; ok && c.Time() < before {
			failf("%s: its clock went back from %d to %d at %d", n, before, c.Time(), row.LSN)
		}
		last[author{row.Key, c.Actor()}] = c.Time()
		if bound := n.most + replica.DefaultMaxClockAhead.Milliseconds(); c.Time() > bound {
			failf("%s: change %d has the time %d, %d ms beyond the latest of its clock and what a peer may add", n, row.LSN, c.Time(), c.Time()-bound)
		}
	}
}
