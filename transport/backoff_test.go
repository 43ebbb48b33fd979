package transport_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
)

func TestBackoff(t *testing.T) {
	half := func() float64 { return 0.5 }
	b := transport.Backoff{Min: 100 * time.Millisecond, Max: time.Second}
	for attempt, want := range []time.Duration{50, 100, 200, 400, 500, 500} {
		require.Equal(t, want*time.Millisecond, b.Delay(attempt, half), "attempt %d", attempt)
	}
	require.Equal(t, 500*time.Millisecond, b.Delay(math.MaxInt, half))
	require.Equal(t, time.Duration(0), b.Delay(3, func() float64 { return 0 }))

	zero := transport.Backoff{}
	require.Equal(t, 125*time.Millisecond, zero.Delay(0, half))
	require.Equal(t, 15*time.Second, zero.Delay(1000, half))
	huge := transport.Backoff{Min: 1, Max: math.MaxInt64}
	require.Positive(t, huge.Delay(1000, half))
	require.Equal(t, 500*time.Millisecond, transport.Backoff{Min: time.Hour, Max: time.Second}.Delay(0, half))

	linear := transport.Backoff{Min: 100 * time.Millisecond, Max: 400 * time.Millisecond, Step: 100 * time.Millisecond}
	for attempt, want := range []time.Duration{50, 100, 150, 200, 200} {
		require.Equal(t, want*time.Millisecond, linear.Delay(attempt, half), "attempt %d", attempt)
	}
}

func TestCodeOf(t *testing.T) {
	for want, err := range map[string]error{
		transport.CodeBusy:      &transport.DialError{Peer: "hub", Code: transport.CodeBusy, Err: errors.New("503")},
		transport.CodeSpace:     &transport.Error{Code: transport.CodeSpace},
		transport.CodeTooLarge:  transport.ErrTooLarge,
		transport.CodeMalformed: transport.ErrMalformed,
		transport.CodeProtocol:  transport.ErrUnknownFrame,
		transport.CodeClosed:    transport.ErrClosed,
		transport.CodeInternal:  errors.New("disk full"),
	} {
		require.Equal(t, want, transport.CodeOf(fmt.Errorf("run session: %w", err)))
	}
}

func TestValidSpace(t *testing.T) {
	for name, want := range map[string]bool{
		"crew": true, "a.b_c-9": true, "": false, "Crew": false, "a/b": false, "..": false, ".": false, "ö": false,
		string(make([]byte, 65)): false,
	} {
		require.Equal(t, want, transport.ValidSpace(name), "%q", name)
	}
}
