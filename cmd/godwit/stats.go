package main

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/godwitdb/godwit/replica"
)

type statsCmd struct{}

// Help is shown by --help.
func (statsCmd) Help() string {
	return `Counts records by collection, and says what takes up the file and what compact would look at. Of content that is the bytes
alone: names, positions and what SQLite needs are the rest of the file. It walks the whole log; status does not.

    godwit stats
    godwit stats --json`
}

// statsLine is what stats prints with --json: status, and more.
type statsLine struct {
	statusLine
	Deleted     int64               `json:"deleted"`
	Forgotten   int64               `json:"forgotten"`
	Collections []collectionLine    `json:"collections"`
	Bytes       bytesLine           `json:"bytes"`
	Compactable compactableLine     `json:"compactable"`
	Oldest      *oldestLine         `json:"oldest"` // null: nothing waits
	Encrypted   bool                `json:"encrypted"`
	Plaintext   map[string][]string `json:"plaintext"` // fields by collection
}

type collectionLine struct {
	Name       string `json:"name"`
	Records    int64  `json:"records"`
	Deleted    int64  `json:"deleted"`
	Forgotten  int64  `json:"forgotten"`
	Conflicted int64  `json:"conflicted"`
	Bytes      int64  `json:"bytes"`
}

type bytesLine struct {
	File      int64 `json:"file"`
	WAL       int64 `json:"wal"`
	Free      int64 `json:"free"`
	Changes   int64 `json:"changes"`
	Snapshots int64 `json:"snapshots"`
	Values    int64 `json:"values"`
	Indexes   int64 `json:"indexes"`
	Texts     int64 `json:"texts"`
}

type compactableLine struct {
	Records int64 `json:"records"`
	Bytes   int64 `json:"bytes"`
}

type oldestLine struct {
	LSN   int64  `json:"lsn"`
	Time  int64  `json:"time"`
	State string `json:"state"`
}

// Run prints the statistics.
func (c *statsCmd) Run(e *env) error {
	return e.replica(mustExist, func(r *replica.Replica) error {
		st, err := r.Stats(e.ctx)
		if err != nil {
			return err
		}
		if e.json {
			return e.printJSON(statsOf(&st))
		}
		printStatus(e, st.Status)
		printStats(e, &st)
		return nil
	})
}

func statsOf(st *replica.Stats) statsLine {
	line := statsLine{
		statusLine: statusOf(st.Status), Deleted: st.Deleted, Forgotten: st.Forgotten, Collections: []collectionLine{},
		Bytes: bytesLine{st.Bytes.File, st.Bytes.WAL, st.Bytes.Free, st.Bytes.Changes, st.Bytes.Snapshots,
			st.Bytes.Values, st.Bytes.Indexes, st.Bytes.Texts},
		Compactable: compactableLine(st.Compactable), Encrypted: st.Encrypted, Plaintext: st.Plaintext,
	}
	for _, c := range st.Collections {
		line.Collections = append(line.Collections, collectionLine(c))
	}
	if o := st.Oldest; o != nil {
		line.Oldest = &oldestLine{int64(o.LSN), o.Time.UnixMilli(), string(o.State)}
	}
	return line
}

// printStats prints what printStatus does not.
func printStats(e *env, st *replica.Stats) {
	e.printf("beside them %d deleted records, %d forgotten ones\n", st.Deleted, st.Forgotten)
	for _, c := range st.Collections {
		e.printf("collection  %s: %d records of %d bytes, %d with a conflict, %d deleted, %d forgotten\n",
			c.Name, c.Records, c.Bytes, c.Conflicted, c.Deleted, c.Forgotten)
	}
	b := st.Bytes
	e.printf("file        %d bytes, %d of them free; WAL %d\n", b.File, b.Free, b.WAL)
	e.printf("content     changes %d, snapshots %d, values %d, indexes %d, full texts %d\n", b.Changes, b.Snapshots, b.Values, b.Indexes, b.Texts)
	e.printf("compact     %d records are worth a look: %d bytes of changes\n", st.Compactable.Records, st.Compactable.Bytes)
	if o := st.Oldest; o != nil {
		e.printf("oldest      the change set at %d, of %s, is %s\n", o.LSN, o.Time.Format(time.DateTime), o.State)
	}
	if st.Encrypted {
		e.printf("encrypted\n")
	}
	for _, name := range slices.Sorted(maps.Keys(st.Plaintext)) {
		e.printf("plaintext   %s: %s\n", name, strings.Join(st.Plaintext[name], " "))
	}
}
