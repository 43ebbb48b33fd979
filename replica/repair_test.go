package replica_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	_ "github.com/mattn/go-sqlite3" // damages a file behind the store's back
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/replica"
)

// damagedAt makes a replica of three records, and does something to its file.
func damagedAt(t *testing.T, path, statement string) (before map[string]string) {
	t.Helper()
	r, err := replica.Open(context.Background(), path, nil)
	require.NoError(t, err)
	for _, v := range []string{`{"v":1,"of":%q}`, `{"v":2,"of":%q}`, `{"w":"x","of":%q}`} {
		for _, id := range []string{"1", "2", "3"} {
			put(t, r, id, fmt.Sprintf(v, id)) // without a difference their changes may be the same bytes
		}
	}
	before = contents(t, r)
	require.NoError(t, r.Close())
	db, err := sql.Open("sqlite3", path)
	require.NoError(t, err)
	_, err = db.Exec(statement)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	return before
}

// What follows from the changes is computed anew, and the replica syncs as before.
func TestRepair(t *testing.T) {
	ctx := context.Background()
	for name, set := range map[string]string{
		"nothing":                       "",
		"another value":                 `json = '{"v":7}'`,
		"no value":                      `json = NULL`,
		"deleted":                       `deleted = 1`,
		"conflicts":                     `conflicts = 3`,
		"heads that cannot be read":     `heads = x'00'`,
		"heads of another record":       `heads = (SELECT heads FROM records WHERE id = '3')`,
		"a clock that cannot be read":   `clock = x'ff'`,
		"a clock of another record":     `clock = x''`,
		"too high an operation":         `max_op = 99`,
		"an earlier place in the log":   `lsn = 2`,
		"a place of another record":     `lsn = 9`,
		"everything":                    `heads = x'00', clock = x'ff', json = 'no JSON', max_op = -1, conflicts = -7`,
		"a policy's version that fools": `policy = 0, json = '{}'`,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.db")
			statement := ""
			if set != "" {
				statement = "UPDATE records SET " + set + " WHERE id = '2'"
			}
			before := damagedAt(t, path, statement)
			r := openAt(t, path, nil)
			done, err := r.Repair(ctx)
			require.NoError(t, err)
			require.Empty(t, done.Damaged)
			if set == "" {
				require.Empty(t, done.Rewritten)
			} else {
				require.Contains(t, done.Rewritten, key("2"))
				require.NotContains(t, done.Rewritten, key("1"))
			}
			require.Equal(t, before, contents(t, r))
			requireClean(t, r)
			net, other := network(t), open(t, nil)
			serve(t, net, "other", other)
			put(t, r, "2", `{"after":true}`)
			syncWith(t, r, net.Link("r", "other"))
			requireEqual(t, r, other)
		})
	}
}

// A change that is damaged is named with its record; the rest is read, written and
// repaired all the same.
func TestRepairDamagedChange(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "a.db")
	before := damagedAt(t, path, `UPDATE log SET data = CAST(substr(data, 1, 40) || x'ff' || substr(data, 42) AS BLOB) WHERE lsn = 5;
		UPDATE records SET json = '{}' WHERE id = '1'`)
	r := openAt(t, path, nil)
	done, err := r.Repair(ctx)
	require.NoError(t, err)
	require.Contains(t, done.Rewritten, key("1"))
	require.Len(t, done.Damaged, 1)
	require.Equal(t, key("2"), done.Damaged[0].Key)
	require.ErrorContains(t, done.Damaged[0].Err, "stored change 2 of notes/2 is damaged")
	got := contents(t, r)
	require.Equal(t, before["notes/1"], got["notes/1"])
	put(t, r, "3", `{"more":1}`)
	e, err := r.Explain(ctx, key("2"))
	require.NoError(t, err)
	require.Contains(t, e.String(), "Its history cannot be read")
}
