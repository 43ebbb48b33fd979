package persist_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// selects returns the rows of a statement, a line each.
func selects(s *persist.Store, sql string, args ...any) (rows []string, err error) {
	for row, err := range s.SQL(context.Background(), sql, args) {
		if err != nil {
			return rows, err
		}
		line := ""
		for i, v := range row.Values {
			if b, ok := v.([]byte); ok {
				v = fmt.Sprintf("%x", b)
			}
			line += fmt.Sprintf("%s=%v ", row.Columns[i], v)
		}
		rows = append(rows, strings.TrimSpace(line))
	}
	return rows, nil
}

func mustSelect(t testing.TB, s *persist.Store, sql string, args ...any) []string {
	t.Helper()
	rows, err := selects(s, sql, args...)
	require.NoError(t, err)
	return rows
}

func TestSQLReadsViews(t *testing.T) {
	s := open(t, tempPath(t), &persist.Options{Synchronous: persist.Normal})
	shown(t, s, several)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		sql  string
		args []any
		want []string
	}{
		{"SELECT _id, n FROM notes WHERE n = 1 ORDER BY _id", nil, []string{"_id=a n=1", "_id=b n=1"}},
		{"SELECT n FROM notes WHERE _id IN ('d', 'g', 'h') ORDER BY _id", nil, []string{"n=+Inf", "n=<nil>", "n=1.8446744073709552e+19"}},
		{"SELECT _id, t FROM notes WHERE t = ? ORDER BY _id", []any{at}, []string{"_id=a t=2026-01-02T03:04:05Z", "_id=f t=2026-01-02T03:04:05Z"}},
		{"SELECT raw FROM notes WHERE raw = 'AAEC'", nil, []string{"raw=AAEC", "raw=AAEC"}},
		{"SELECT tags, b FROM notes WHERE _id = ?", []any{"a"}, []string{`tags=["sea","salt"] b=1`}},
		{"SELECT sub FROM notes WHERE _id = 'a'", nil, []string{`sub={"city":"Oslo"}`}},
		{"SELECT m FROM notes WHERE _id = 'g'", nil, []string{`m={"$time":"x","y":1}`}},
		{"SELECT _json ->> '$.sub.city' AS city FROM notes WHERE city IS NOT NULL ORDER BY city", nil, []string{"city=Oslo", "city=Ås"}},
		{`SELECT "o'b", "a b" FROM notes WHERE _id = 'g'`, nil, []string{`o'b=1 a b={"c\td":2}`}},
		{"SELECT count(*) AS n FROM notes JOIN others ON others.note = notes._id", nil, []string{"n=0"}},
		{"WITH RECURSIVE c (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c WHERE n < 3) SELECT sum(n) AS s FROM c", nil, []string{"s=6"}},
		{"SELECT value FROM notes, json_each(tags) WHERE _id = 'a'", nil, []string{"value=sea", "value=salt"}},
		{"SELECT ? AS a, ? AS b, ? AS c, ? AS d, ? AS e", []any{nil, true, 1.5, []byte{1}, crdt.Text("x")}, []string{"a=<nil> b=1 c=1.5 d=01 e=x"}},
	} {
		t.Run(c.sql, func(t *testing.T) {
			require.NoError(t, s.Commit(context.Background(), func(tx *persist.Tx) error {
				_, err := edit(tx, crdt.Key{Collection: "others", ID: "1"}, "actor", `{"note":"x"}`)
				return err
			}))
			require.Equal(t, c.want, mustSelect(t, s, c.sql, c.args...))
		})
	}
}

// TestSQLFollowsTheFile: collections and fields that came later, and fields that only
// few records have.
func TestSQLFollowsTheFile(t *testing.T) {
	s := open(t, tempPath(t), &persist.Options{Synchronous: persist.Normal})
	_, err := selects(s, "SELECT * FROM notes")
	require.ErrorContains(t, err, "no such table: notes")
	objects := map[string]string{}
	for i := range 500 {
		objects[fmt.Sprintf("%03d", i)] = `{"n":1}`
	}
	objects["250"] = `{"n":1,"rare":"found","N":2,"_id":"mine"}`
	shown(t, s, objects)
	require.Equal(t, []string{"n=500"}, mustSelect(t, s, "SELECT count(*) AS n FROM notes"))
	require.Equal(t, []string{"rare=found N_2=1 _id=250 _id_2=mine"}, // N comes before n
		mustSelect(t, s, "SELECT rare, n_2 AS N_2, _id, _id_2 FROM notes WHERE rare IS NOT NULL"))
	_, err = selects(s, "SELECT other FROM notes")
	require.ErrorContains(t, err, "no such column: other")
	shown(t, s, map[string]string{"000": `{"other":1}`})
	require.Equal(t, []string{"other=1"}, mustSelect(t, s, "SELECT other FROM notes WHERE other = 1"))
	shown(t, s, map[string]string{"001": `{"sqlite_x":1,"a\"b":2}`})
	require.Equal(t, []string{"_id=001"}, mustSelect(t, s, "SELECT _id FROM notes WHERE sqlite_x = 1"))
}

// TestSQLOnlyReads: whatever a statement tries, the connection refuses it, and the file
// stays as it was.
func TestSQLOnlyReads(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, &persist.Options{Synchronous: persist.Normal})
	shown(t, s, several)
	other := filepath.Join(t.TempDir(), "other.db")
	for _, sql := range []string{
		"INSERT INTO records (rid) VALUES (1)",
		"INSERT INTO notes (_id) VALUES ('x')",
		"UPDATE records SET json = '{}'",
		"DELETE FROM log",
		"DELETE FROM notes",
		"UPDATE notes SET n = 2",
		"DELETE FROM records RETURNING *",
		"REPLACE INTO meta SELECT * FROM meta",
		"WITH x AS (SELECT 1) DELETE FROM records",
		"CREATE TABLE x (y)",
		"CREATE TEMP TABLE x (y)",
		"CREATE TEMP VIEW x AS SELECT 1",
		"CREATE TEMP TRIGGER x AFTER INSERT ON records BEGIN SELECT 1; END",
		"CREATE INDEX x ON records (json)",
		"CREATE VIRTUAL TABLE temp.x USING fts3(y)",
		"DROP TABLE records",
		"DROP VIEW notes",
		"ALTER TABLE records ADD COLUMN x",
		"ATTACH '" + other + "' AS other",
		"DETACH main",
		"VACUUM",
		"VACUUM INTO '" + other + "'",
		"REINDEX",
		"ANALYZE",
		"BEGIN",
		"BEGIN IMMEDIATE",
		"COMMIT",
		"ROLLBACK",
		"SAVEPOINT x",
		"PRAGMA query_only = 0",
		"PRAGMA journal_mode = DELETE",
		"PRAGMA writable_schema = 1",
		"PRAGMA user_version",
		"PRAGMA temp_store_directory = '/'",
		"SELECT * FROM pragma_table_info('records')",
		"SELECT load_extension('x')",
		"SELECT LOAD_EXTENSION('x', 'y')",
		"SELECT auth_user_add('a', 'b', 1)",
		"SELECT replica FROM meta",
		"SELECT data FROM log",
		"SELECT * FROM sqlite_schema",
		"SELECT * FROM temp.sqlite_schema",
		"SELECT 1 WHERE EXISTS (SELECT * FROM peers)",
		"SELECT _id FROM notes; DELETE FROM records",
		"EXPLAIN DELETE FROM records",
	} {
		t.Run(sql, func(t *testing.T) {
			_, err := selects(s, sql)
			require.ErrorIs(t, err, persist.ErrSQL)
		})
	}
	for _, sql := range []string{"", "SELEC", "SELECT '", "SELECT 1)", "SELECT \x00", "SELECT * FROM nothing", "SELECT fts5(1)", "SELECT ?", "SELECT '\xff', zeroblob(1e9)"} {
		_, _ = selects(s, sql) // whatever it says, it comes back
	}
	_, err := selects(s, "SELECT hex(zeroblob(60000000))")
	require.ErrorContains(t, err, "too big")
	_, err = selects(s, "SELECT ?", make(chan int))
	require.ErrorContains(t, err, "argument 1: no record holds")
	require.NoFileExists(t, other)
	require.Equal(t, []string{"n=8"}, mustSelect(t, s, "SELECT count(*) AS n FROM notes"))
	require.Len(t, ids(t, s, persist.Query{}), len(several))
	info, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	for _, e := range info {
		require.True(t, strings.HasPrefix(e.Name(), "replica.db"), e.Name())
	}
}

func TestSQLEndsWithItsContext(t *testing.T) {
	s := open(t, tempPath(t), &persist.Options{Synchronous: persist.Normal})
	shown(t, s, several)
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	var err error
	for _, err = range s.SQL(ctx, "WITH RECURSIVE c (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c) SELECT n FROM c", nil) {
		if n++; n == 10 {
			cancel()
		}
	}
	require.ErrorIs(t, err, context.Canceled)
	ctx, cancel = context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	for _, err = range s.SQL(ctx, "WITH RECURSIVE c (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c", nil) {
	}
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Len(t, mustSelect(t, s, "SELECT _id FROM notes"), len(several))
	for range s.SQL(context.Background(), "SELECT _id FROM notes", nil) {
		break // gives the connection back
	}
}
