package persist

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// LimitPages makes the disk look full beyond n pages.
func LimitPages(t testing.TB, s *Store, n int) {
	require.NoError(t, s.Commit(context.Background(), func(tx *Tx) error {
		return tx.c.run(fmt.Sprintf("PRAGMA max_page_count = %d", n))
	}))
}

// FailCommit has SQLite refuse the commit of the transaction.
func FailCommit(tx *Tx) {
	db := tx.w.c.db
	db.RegisterCommitHook(func() int {
		db.RegisterCommitHook(nil)
		return 1
	})
}
