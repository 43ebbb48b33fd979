package crash_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func migrations(t testing.TB) []string {
	files, err := filepath.Glob("../../../persist/migrations/*.sql") // sorted
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

// newestOld is the newest schema that is not the current one.
func newestOld(t testing.TB) int { return len(migrations(t)) - 1 }

// makeOld makes a file of an old schema that holds 20 updates of writer 0: the tables as
// that version made them, with what a current file has in the columns that there were.
func makeOld(t testing.TB, path string, version int) {
	t.Helper()
	current := filepath.Join(memory(t), "current.db")
	r := openAt(t, current, nil)
	for n := 1; n <= 20; n++ {
		_, err := write(t.Context(), r, 0, n)
		require.NoError(t, err)
	}
	require.NoError(t, r.Close())
	for _, part := range []string{"", "-wal", "-shm"} {
		require.NoError(t, os.RemoveAll(path+part))
	}
	db, err := sql.Open("sqlite3", path)
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	run := func(query string, args ...any) {
		_, err := db.ExecContext(t.Context(), query, args...)
		require.NoError(t, err, query)
	}
	for _, file := range migrations(t)[:version] {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		run(string(text))
	}
	run("ATTACH ? AS current", current)
	for _, table := range column(t, db, "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'") {
		names := strings.Join(column(t, db, "SELECT name FROM pragma_table_info(?, 'main')", table), ", ")
		run("DELETE FROM main." + table)
		run(fmt.Sprintf("INSERT INTO main.%s (%s) SELECT %s FROM current.%s", table, names, names, table))
	}
	run("DETACH current")
	run(fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d; PRAGMA journal_mode = WAL", 0x67647774, version))
	require.NoError(t, db.Close())
}

func column(t testing.TB, db *sql.DB, query string, args ...any) (all []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var s string
		require.NoError(t, rows.Scan(&s))
		all = append(all, s)
	}
	require.NoError(t, rows.Err())
	return all
}
