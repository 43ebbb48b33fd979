//go:build !sqlite_fts5

package replica_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/replica"
)

func TestNoFullText(t *testing.T) {
	r := open(t, nil)
	put(t, r, "1", `{"title":"Tides"}`)
	require.ErrorIs(t, r.EnsureText(t.Context(), "notes", "title"), replica.ErrNoFullText)
	require.NoError(t, r.EnsureText(t.Context(), "notes"))
	require.NoError(t, r.UpdateText(t.Context(), "notes"))
}
