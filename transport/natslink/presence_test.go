package natslink_test

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport/natslink"
)

// TestPresenceOverTheStream has replicas that know only the stream see who is there,
// among messages of others.
func TestPresenceOverTheStream(t *testing.T) {
	s := startServer(t, withJetStream(t))
	a, b := newPlace(t), newPlace(t)
	a.stream(t, s.ClientURL())
	b.stream(t, s.ClientURL())
	a.put(t, "1", 1)
	b.put(t, "2", 2)
	await(t, 2, a, b) // both sessions stand

	there, err := b.r.Room("kitchen")
	require.NoError(t, err)
	events := make(chan replica.RoomEvent)
	go func() {
		defer close(events)
		for ev := range there.Watch(within(t)) {
			select {
			case events <- ev:
			case <-t.Context().Done():
				return
			}
		}
	}()

	nc, err := nats.Connect(s.ClientURL())
	require.NoError(t, err)
	defer nc.Close()
	require.NoError(t, nc.Publish(natslink.PresenceSubject(space), []byte("somebody else's")))
	require.NoError(t, nc.Flush())

	here, err := a.r.Room("kitchen")
	require.NoError(t, err)
	require.NoError(t, here.Set("at the stove"))
	ev := <-events
	require.Equal(t, replica.RoomJoin, ev.Kind)
	require.JSONEq(t, `"at the stove"`, string(ev.Member.State))
	require.Equal(t, a.r.ID(), ev.Member.Replica)
	require.NoError(t, here.Send("dinner"))
	ev = <-events
	require.Equal(t, replica.RoomMessage, ev.Kind)
	require.JSONEq(t, `"dinner"`, string(ev.Message))
	require.NoError(t, here.Leave())
	require.Equal(t, replica.RoomLeave, (<-events).Kind)
	require.EqualValues(t, 1, b.node.Foreign())
}
