-- Two changes of one actor with one sequence number: have is in the log, got is
-- not. A log row with a negative source was withdrawn in the repair of a fork.
CREATE TABLE forks (
	collection TEXT NOT NULL,
	id         TEXT NOT NULL,
	actor      BLOB NOT NULL,
	seq        INTEGER NOT NULL,
	have       BLOB NOT NULL,
	got        BLOB NOT NULL,
	peer       INTEGER NOT NULL,
	time       INTEGER NOT NULL,
	settled    INTEGER NOT NULL,
	PRIMARY KEY (collection, id, actor, seq, got, have)
) STRICT, WITHOUT ROWID;

-- Records whose stored value followed another policy and shows something else
-- now; the last ones, for watchers.
CREATE TABLE views (
	seq INTEGER PRIMARY KEY AUTOINCREMENT,
	rid INTEGER NOT NULL,
	lsn INTEGER NOT NULL -- the end of the log at that time
) STRICT;
