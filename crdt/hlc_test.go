package crdt_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

func TestHLC(t *testing.T) {
	wall := int64(1000)
	c := crdt.NewHLC(func() time.Time { return time.UnixMilli(wall) }, time.Second)
	require.EqualValues(t, 1000, c.Now())
	require.EqualValues(t, 1000, c.Now(), "not strictly increasing")
	wall = 900
	require.EqualValues(t, 1000, c.Now(), "never back")
	c.Observe(1500)
	require.EqualValues(t, 1500, c.Now())
	c.Observe(1200)
	require.EqualValues(t, 1500, c.Now())
	c.Observe(1 << 52)
	require.EqualValues(t, 1900, c.Now(), "a clock from the future drags by no more than the bound")
	wall = 5000
	require.EqualValues(t, 5000, c.Now())
	c.Observe(-1 << 52)
	require.EqualValues(t, 5000, c.Now())
}

func TestHLCConcurrently(t *testing.T) {
	c := crdt.NewHLC(nil, time.Minute)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			last := int64(0)
			for i := range 1000 {
				c.Observe(last + int64(i%3))
				now := c.Now()
				if now < last {
					t.Errorf("the clock went back from %d to %d", last, now)
				}
				last = now
			}
		})
	}
	all.Wait()
}
