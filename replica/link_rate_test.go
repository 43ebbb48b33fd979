package replica_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
)

// TestALinkRestsWhenItSentTooMuch: a peer that sends one away is not dialled at once.
func TestALinkRestsWhenItSentTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := network(t)
		var dialled []time.Time
		_, err := net.Listen("hub", func(ctx context.Context, c transport.Conn) error {
			dialled = append(dialled, time.Now())
			if err := c.Send(ctx, &transport.Error{Code: transport.CodeRate, Message: "too much"}); err != nil {
				return err
			}
			for { // until the replica has read it and hangs up
				if _, err := c.Recv(ctx); err != nil {
					return err
				}
			}
		})
		require.NoError(t, err)
		_, err = open(t, &replica.Options{Space: "crew"}).Connect(net.Link("edge", "hub"))
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Greater(t, len(dialled), 2)
		for i := range dialled[1:] {
			require.GreaterOrEqual(t, dialled[i+1].Sub(dialled[i]), 10*time.Second)
		}
	})
}
