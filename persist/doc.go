// Package persist is the store of a replica: one SQLite file that holds
// records, the log of their changes, and what is known of peers. It knows
// bytes, positions and names; what a change means is crdt's business, and when
// one is made, sent or refused is replica's.
//
//	s, err := persist.Open(ctx, "notes.db", nil)
//	...
//	err = s.Commit(ctx, func(tx *persist.Tx) error {
//		rec := &persist.Record{RID: tx.NewRID(), Key: key, JSON: json}
//		row := &persist.LogRow{RID: rec.RID, Key: key, Hash: h, Data: chunk}
//		if err := tx.Append(row); err != nil {
//			return err
//		}
//		rec.LSN = row.LSN
//		return tx.PutRecord(rec)
//	})
//
// # What it promises
//
// A Commit that returned nil is on the disk (FULL, the default) or in the
// hands of the operating system (NORMAL); one that returned an error left
// nothing. Several processes may open one file: each transaction begins by
// asking SQLite (PRAGMA data_version) whether somebody else has committed, and
// positions are read again if so; Tx.Foreign passes that on to caches. Check
// walks all of it.
//
// # Decisions
//
// One goroutine writes. Callers hand it closures over a channel without a
// buffer, so that a closure is either taken or can still be withdrawn, and those
// that wait when one is done join its transaction. The first needs no savepoint.
// Callers answered by one commit tend to come back together, so the writer
// yields to them for a moment before it commits, as long as that paid lately.
//
// A nested Commit is found without a cost worth naming: only when a closure is
// running, and only if the caller's stack holds the place where this package calls closures,
// it asks for the goroutine's number (3 to 14 us: Go prints the stack for it).
// That does not find a Commit that waits for itself through another store's
// closure.
//
// The log has no index on records. A row names the record's row before it
// (prev), and the record names the last. With the index a single-field commit took
// 57 us instead of 39 (NORMAL), since it wrote another page; reading is the same,
// as an index leads to the same rows one by one. Append finds prev by itself.
// For the same reason the common update of a record names no indexed column:
// SQLite rewrites index entries of columns that SET names, changed or not.
//
// The driver is used without database/sql, with prepared statements and
// context.Background: with any other context it starts a goroutine a call.
//
// The application id and the first schema are written before WAL mode is
// entered, so that the first page of a file says whose it is, and other files
// are refused by looking at bytes, without SQLite touching them.
//
// A snapshot is a record's changes as one document chunk. It empties the data of the
// log rows that it covers and leaves them in place: positions, chain and hashes stay
// what peers know. Behind the chunk stands the log's order of the changes if the
// document has another. Readers of the log look emptied rows up by hash; what was
// taken out of a snapshot last is kept, so that paging through a long record reads it
// once. A damaged snapshot gives rows without data, which a peer refuses, as it
// refuses altered bytes, and costs no other record anything.
//
// Inserting several log rows by one statement was not needed: a change costs
// 4 to 5 us in a large transaction, its share of the record included.
//
// The WAL is moved into the file at 8,000 pages, not 1,000: the transactions of a cold
// sync exceed these, and each moved all it wrote and synced the file too (7% of the time).
//
// A backup is copied page by page (SQLite's online backup) from a connection that is in
// a transaction, which fixes what it sees and keeps commits from starting it again.
// VACUUM INTO would give a smaller file, but says nothing on its way and cannot be ended.
//
// A file that was deleted, moved or replaced is still written to by whoever has it open,
// and nobody finds that again. So each transaction first asks the system what is at the
// path, which takes 1 to 2 us; a lock file would say nothing of that.
//
// A new file gets its first schema in SQLite's rollback mode and everything after it through
// the WAL: see prepareWriter and halfMade for what kills leave. explain (trouble.go) is where
// errors of SQLite's and the system's get the name that callers know them by.
//
// # Damage
//
// Pages have no checksums, changes do: a log row's bytes have to give its hash, rows the
// running hash, and a record's row has to follow from its changes. What is none of these is
// not noticed (when a peer was seen last), or makes no difference to what the
// records are. Check asks SQLite for all it knows too (integrity_check, since an index that
// does not fit its table hides records).
//
// Salvage does not ask SQLite to read a damaged file. Reading on behind a bad page by
// row numbers was considered: one bad inner page, or the first one, takes the whole table
// along, though its leaves are sound. So pages are read one by one, in the file and in the
// WAL, and rows told by their shape (internal/sqlitefile); then it does not matter what is damaged.
// Changes are trusted by their hash, and whose they are by the running hash. The
// new file gets a new epoch: positions that cannot be read leave no gaps in it.
//
// A WAL ends at its first bad frame, says SQLite, and writes over what follows. With FULL
// that is damage if whole transactions follow (inspectWAL), since none is begun before the
// one before is on the disk; then the file is not opened, so that they are not overwritten.
// A bad frame in the very last transaction cannot be told from a power cut: its end is
// lost, as that would be. Opening reads the WAL for that, if there is one.
//
// With NORMAL a power cut may leave whole transactions behind a bad frame, and whoever
// opens the file then, in whatever mode, takes what is before. So the file says that
// somebody writes like that (unsynced of meta): it is synced before his first transaction,
// asked for again when somebody else has committed, which costs no other transaction
// anything, and taken back by who opens the file with FULL and can empty the WAL. Damage
// in a WAL of which the file says so is not told from a power cut.
//
// # Queries
//
// A condition compares keys (query_key.go): one SQLite value for whatever a field holds,
// made by SQL alone, so that numbers, strings, times and the rest are ordered among
// themselves and no type equals another. A key is never NULL: Not is the exact opposite,
// and a place in an order can be compared as a row value. A Go function would be shorter
// and cost a call of 1 us and more for each record, and no other program could write to
// the file.
//
// The text of a statement has nothing in it that a caller wrote: values, paths and
// collections are arguments. Only CREATE, which takes none, has them as literals.
//
// An index is a table of keys of its own, which triggers on records keep, and not an
// index of SQLite's over the same expression: CREATE INDEX took 5 s for 1,000,000 records,
// in one transaction for which every writer waits, where the table is filled a thousand
// records a transaction, goes on after a kill, and is used when it is complete. An
// update that leaves the field alone computes the key twice and writes nothing. What an
// index holds SQLite sees as a column of the first table of a join, and plans the rest.
//
// A full text is brought up to date by who searches, from the log and the view changes,
// and not with each change: SQLite refuses to write through a trigger whose module the
// program lacks, so a program without FTS5 could not write to the file at all. It
// holds no text, only words. Rows that left the log unread make it begin anew.
//
// SQL of callers runs on connections that open the file for reading, with query_only,
// and an authorizer that lets through SELECT, the views of collections, the table
// under them, and functions but load_extension. Views are temporary, so nothing
// about them is in the file.
//
// # Encryption
//
// Content is what somebody wrote, or what says something about it: changes, snapshots,
// stored values, parked sets, refused changes, policies, and texts of errors
// (sealedTables). Each such column is sealed by itself, XChaCha20-Poly1305 of
// golang.org/x/crypto with a random nonce, so that SQLite stays what it is: indexes,
// transactions, several processes and its own recovery. Bound to it is where it
// stands: column, and what names the row. So a value that is copied to another row or
// column does not open. A row says which key it was sealed with, 0 for none; that is
// how reading works while a file is converted, at no cost for a plain one. A sealed
// text stands in a column of text, which SQLite stores byte by byte.
//
// The content's key is random and in the box, with the state of the encryption; the
// box is sealed with the key of Options, or one that Argon2id derives of a passphrase,
// its parameters and salt beside it and bounded before they are used. Who has no key
// cannot alter the state, as to have a program store plain text. Relock seals the box
// anew: at once. Rekey replaces the content's key too, and so has to seal everything
// anew. It has the simple name since only that makes an old key worthless for somebody
// who had the file once: with the box of an old copy he has the content's key.
//
// A change of the encryption is a new box, which says what is under way; then rows are
// converted, in transactions small enough not to hold others up; then the file is
// written anew (VACUUM) and the WAL emptied into it; then a box says that it is over.
// A kill leaves one of these states, and whoever opens the file goes on. What VACUUM
// does is needed: SQLite's secure_delete was tried instead, and of 191 places of a word
// in a file 159 were still there when all rows had been converted, in gaps of pages
// that were split. Afterwards nothing of it is in the file or its WAL. What a disk keeps
// of blocks that a file has given up, and swapped memory, is not in our hands.
//
// What stays visible: collections and IDs of records, what waits and was refused of
// them, and the heads, hashes, actors, sequence numbers, times, sizes, order and
// conflicts of changes, what is deleted, and whether nobody was shown it, what was
// forgotten and when, the space, and peers, with name and position. A hash is one of
// content, so who can guess a change exactly can confirm the guess. What is empty is seen
// to be empty.
//
// SQL sees through it by a function, godwit_open, which every connection has: a call
// and a decryption for each value that a statement looks into, some 3 us. An index is
// plain text by its nature, and so are the words of a full text; both are refused
// unless SetPlainFields declared the field, also when a file that has them is to be
// encrypted.
//
// What it is for: a file that somebody gets to read, or alters. An altered value is an
// error, or damage that Check names; but whoever can write the file can also put an
// older one in its place, or an older value of the same cell, and SQL can be told to
// store elsewhere what passes through. SQL over stored values (Duplicates) takes plain
// text that was put in for what it is; reading and Check do not.
//
// # Measured
//
// On two cores, against raw SQLite (database/sql, prepared statements, same
// pragmas, one row updated and one of 150 bytes inserted) in the same run of
// "go test -run xxx -bench . ./persist":
//
//	one writer, NORMAL      39.7 us   0.95 of raw
//	one writer, FULL         176 us   0.99 of raw
//	eight writers, FULL     40.0 us   3.9 times raw with one transaction a write
//	bulk, 4 changes a record 4.0 us   a change
//	open 100,000 records     1.3 ms   with a first commit, a read and closing
//	read one record          6.8 us
//
// A benchmark of SQLite has to write another value each time: a page on which
// nothing changed is not written, and raw looked twice as fast.
package persist
