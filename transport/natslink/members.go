package natslink

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// member is what a node says of itself.
type member struct {
	ID  string `json:"id"`
	Hub bool   `json:"hub,omitempty"`
}

const (
	maxMembers    = 10_000
	maxMemberSize = 256                    // bytes of JSON
	whoPatience   = 500 * time.Millisecond // for the first answer
	whoGrace      = 60 * time.Millisecond  // for more of them, at least
)

func (n *Node) self() []byte {
	b, _ := json.Marshal(member{n.opts.ID, n.opts.Hub}) // two fields that always can be
	return b
}

func (n *Node) parseMember(m *nats.Msg) (member, bool) {
	var who member
	if len(m.Data) > maxMemberSize || json.Unmarshal(m.Data, &who) != nil || !validID(who.ID) {
		n.foreign(m.Subject, m.Data)
		return who, false
	}
	return who, true
}

// members asks who else is there, and returns them by ID. It waits for the first
// answer up to whoPatience, and then for as long again as that took.
func (n *Node) members(ctx context.Context, nc *nats.Conn, space string) ([]member, error) {
	inbox := subjectConn(space, nuid.Next())
	answers := make(chan *nats.Msg, 256)
	sub, err := nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	denied, stop := n.watchDenials()
	defer stop()
	asked := time.Now()
	if err := nc.PublishRequest(subjectWho(space), inbox, nil); err != nil {
		return nil, err
	}
	found := map[string]member{}
	wait := time.NewTimer(whoPatience)
	defer wait.Stop()
	for len(found) < maxMembers {
		select {
		case m := <-answers:
			if isNobody(m) {
				return nil, nil
			}
			who, ok := n.parseMember(m)
			if !ok || who.ID == n.opts.ID {
				continue
			}
			if len(found) == 0 {
				wait.Reset(max(whoGrace, time.Since(asked)))
			}
			found[who.ID] = who
			continue
		case err := <-denied:
			if denies(err, subjectWho(space), inbox) {
				return nil, err
			}
			continue
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-wait.C:
		}
		break
	}
	all := make([]member, 0, len(found))
	for _, m := range found {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b member) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// next returns the member that this one dials to stay connected: of all, or of the
// hubs if it is one, the next by ID. The last dials nobody. So the sessions of a
// space make a chain, over which everything reaches everyone and no change comes
// twice.
func (n *Node) next(all []member) (member, bool) {
	for _, m := range all {
		if m.ID > n.opts.ID && (m.Hub || !n.opts.Hub) {
			return m, true
		}
	}
	return member{}, false
}
