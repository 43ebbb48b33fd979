package main

import (
	"bytes"
	"database/sql"
	"os"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdHarm damages a replica's file.
func cmdHarm(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: harm DB SQL, harm DB page N")
	}
	path := ts.MkAbs(args[0])
	if args[1] == "page" {
		n, err := strconv.Atoi(args[2])
		ts.Check(err)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		ts.Check(err)
		_, err = f.WriteAt(bytes.Repeat([]byte("damage! "), 512), int64(n-1)*4096)
		ts.Check(err)
		ts.Check(f.Close())
		return
	}
	db, err := sql.Open("sqlite3", path)
	ts.Check(err)
	_, err = db.Exec(args[1])
	ts.Check(err)
	ts.Check(db.Close())
}
