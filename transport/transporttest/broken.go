package transporttest

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
)

// Breakable returns a pair like a Factory, and what breaks the path between the
// two as a failing network does: nothing more arrives over what was open, and both
// ends notice in seconds. A carrier may open a new path under the same Conns.
type Breakable func(tb testing.TB) (dialled, accepted transport.Conn, cut func())

// RunBroken holds the Conns of a carrier against what remains of the contract
// when the path breaks: frames arrive whole, once and in order, without a gap, and
// then the Conn has ended at both ends, unless all of them arrive. Each test runs
// in both directions.
func RunBroken(t *testing.T, factory Breakable) {
	for name, test := range map[string]func(t *testing.T, pair func() (from, to transport.Conn, cut func())){
		"CutAtEveryFrame": testCutAtEveryFrame,
		"CutWhileSending": testCutWhileSending,
		"Resume":          testResume,
	} {
		t.Run(name, func(t *testing.T) {
			t.Run("Dialled", func(t *testing.T) {
				test(t, func() (from, to transport.Conn, cut func()) { return factory(t) })
			})
			t.Run("Accepted", func(t *testing.T) {
				test(t, func() (from, to transport.Conn, cut func()) {
					a, b, cut := factory(t)
					return b, a, cut
				})
			})
		})
	}
}

// RunHiding holds the Conns of a carrier against the part of the contract that
// does not hang on time, over a path that loses, repeats or delays what it carries
// where the carrier promises to hide that.
func RunHiding(t *testing.T, factory Factory) {
	run(t, factory, []test{
		{"RoundTrip", testRoundTrip}, {"Order", testOrder}, {"LargestFrame", testLargestFrame},
		{"HugeSet", testHugeSet}, {"BothWaysAtOnce", testBothWaysAtOnce},
	})
}

// frames of the tests below: their number, and the bytes of one.
const (
	cutFrames = 6
	cutSize   = 20_000
)

// relay sends the frames from first to end and receives them, until the Conns
// end. It returns how many arrived; before is called with the number of each
// frame that is about to be received.
func relay(t *testing.T, from, to transport.Conn, first, end int, before func(i int)) (arrived int) {
	ctx := within(t)
	sent := async(t, func() error {
		for i := first; i < end; i++ {
			if err := from.Send(ctx, noise(i, cutSize)); err != nil {
				return err
			}
		}
		return nil
	})
	err := error(nil)
	for arrived = first; arrived < end; arrived++ {
		before(arrived)
		if err = expect(ctx, to, arrived, arrived+1); err != nil {
			require.ErrorIs(t, err, transport.ErrClosed)
			break
		}
	}
	if err != nil {
		_ = to.Close() // as a session does whose Conn has ended
	}
	if err := sent(); err != nil {
		require.ErrorIs(t, err, transport.ErrClosed)
	}
	return arrived
}

// The path breaks after each number of frames that have arrived.
func testCutAtEveryFrame(t *testing.T, pair func() (from, to transport.Conn, cut func())) {
	for after := range cutFrames {
		from, to, cut := pair()
		ended := relay(t, from, to, 0, cutFrames, func(i int) {
			if i == after {
				cut()
			}
		})
		if ended < cutFrames {
			ctx := within(t)
			for err := error(nil); err == nil; { // the other end notices as well
				_, err = from.Recv(ctx)
				require.False(t, errors.Is(err, context.DeadlineExceeded), "cut after %d frames, and nobody noticed", after)
			}
		}
		closeBoth(t, from, to)
	}
}

// The path breaks at any moment, also within a frame.
func testCutWhileSending(t *testing.T, pair func() (from, to transport.Conn, cut func())) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	for range 5 {
		from, to, cut := pair()
		moment, spins := chance.IntN(cutFrames), chance.IntN(2000)
		var cutting sync.WaitGroup
		relay(t, from, to, 0, cutFrames, func(i int) {
			if i == moment {
				cutting.Go(func() {
					for range spins { // so that not every cut meets the same moment
						runtime.Gosched()
					}
					cut()
				})
			}
		})
		cutting.Wait()
		closeBoth(t, from, to)
	}
}

// A session that dials again goes on from what has arrived.
func testResume(t *testing.T, pair func() (from, to transport.Conn, cut func())) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	arrived := 0
	for arrived < 4*cutFrames {
		from, to, cut := pair()
		ctx := within(t)
		require.NoError(t, to.Send(ctx, &transport.Ping{Nonce: uint64(arrived)})) // the cursor
		got, err := from.Recv(ctx)
		require.NoError(t, err)
		require.Equal(t, &transport.Ping{Nonce: uint64(arrived)}, got)
		moment := arrived + 1 + chance.IntN(cutFrames)
		arrived = relay(t, from, to, arrived, 4*cutFrames, func(i int) {
			if i == moment {
				cut()
			}
		})
		closeBoth(t, from, to)
	}
}

func closeBoth(t *testing.T, a, b transport.Conn) {
	var both sync.WaitGroup
	both.Go(func() { require.NoError(t, a.Close()) })
	both.Go(func() { require.NoError(t, b.Close()) })
	both.Wait()
}
