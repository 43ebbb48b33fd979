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

// AfterStep has f called after each step of encrypting, decrypting and re-keying.
func (o *Options) AfterStep(f func(step string)) { o.afterStep = f }

// ParseKDF and ParseBox are decoders of what a file says of its encryption.
func ParseKDF(s string) (KeyCost, []byte, error) { return parseKDF(s) }

// ParseBox decodes a box and encodes it again.
func ParseBox(b []byte) (again []byte, err error) {
	x, err := parseBox(b)
	if err != nil {
		return nil, err
	}
	return x.append(nil), nil
}

// Queries returns the text of every prepared statement.
func Queries() (all []string) {
	for _, q := range queries {
		all = append(all, q.sql)
	}
	return all
}
