package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFleet runs the whole story, which fails unless every replica proves that it
// holds what the others hold.
func TestFleet(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out), &out)
	require.Contains(t, out.String(), ": 23 of 23\n", "one fingerprint of twenty replicas and three hubs")
}
