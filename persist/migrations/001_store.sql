-- Who this file is. The schema's version is the pragma user_version.
CREATE TABLE meta (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	replica BLOB NOT NULL,
	epoch   INTEGER NOT NULL, -- 64 bits, as two's complement
	created INTEGER NOT NULL,
	space   TEXT NOT NULL DEFAULT '' -- '': not known yet
) STRICT;

-- The incarnations given out: none is ever used twice.
CREATE TABLE actors (
	actor   BLOB PRIMARY KEY,
	created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE records (
	rid        INTEGER PRIMARY KEY,
	collection TEXT NOT NULL,
	id         TEXT NOT NULL,
	heads      BLOB NOT NULL,
	clock      BLOB NOT NULL,
	max_op     INTEGER NOT NULL,
	json       TEXT,
	policy     INTEGER NOT NULL,
	deleted    INTEGER NOT NULL,
	conflicts  INTEGER NOT NULL,
	created    INTEGER NOT NULL,
	updated    INTEGER NOT NULL,
	lsn        INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX records_key ON records (collection, id);
CREATE INDEX records_policy ON records (collection, policy);
CREATE INDEX records_conflicts ON records (collection, id) WHERE conflicts > 0;

-- A record's changes are found from its lsn along prev: an index on rid would
-- cost every commit another page.
CREATE TABLE log (
	lsn    INTEGER PRIMARY KEY,
	chain  BLOB NOT NULL,
	set_id BLOB NOT NULL,
	rid    INTEGER NOT NULL,
	prev   INTEGER NOT NULL, -- the record's row before this one, 0: none
	hash   BLOB NOT NULL,
	source INTEGER NOT NULL,
	time   INTEGER NOT NULL,
	data   BLOB NOT NULL
) STRICT;

-- Compacted histories: a document chunk, and the log's order of its changes.
CREATE TABLE snapshots (
	rid  INTEGER PRIMARY KEY,
	lsn  INTEGER NOT NULL,
	data BLOB NOT NULL
) STRICT;

CREATE TABLE parked (
	id     INTEGER PRIMARY KEY,
	peer   INTEGER NOT NULL,
	set_id BLOB NOT NULL,
	size   INTEGER NOT NULL, -- of data
	reason TEXT NOT NULL,
	time   INTEGER NOT NULL,
	data   BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX parked_set ON parked (peer, set_id);
CREATE INDEX parked_size ON parked (peer, size);

-- What a parked set waits for.
CREATE TABLE parked_on (
	collection TEXT NOT NULL,
	id         TEXT NOT NULL,
	parked     INTEGER NOT NULL,
	PRIMARY KEY (collection, id, parked)
) STRICT, WITHOUT ROWID;
CREATE INDEX parked_on_parked ON parked_on (parked);

CREATE TABLE quarantine (
	id         INTEGER PRIMARY KEY,
	peer       INTEGER NOT NULL,
	collection TEXT NOT NULL,
	record     TEXT NOT NULL,
	hash       BLOB NOT NULL,
	code       TEXT NOT NULL,
	detail     TEXT NOT NULL,
	size       INTEGER NOT NULL, -- of data
	time       INTEGER NOT NULL,
	data       BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX quarantine_change ON quarantine (peer, hash, collection, record);
CREATE INDEX quarantine_size ON quarantine (peer, size);

-- How many refused changes of a peer made room for later ones.
CREATE TABLE quarantine_dropped (
	peer  INTEGER PRIMARY KEY,
	count INTEGER NOT NULL
) STRICT;

-- Changes of this log that a peer did not take.
CREATE TABLE refusals (
	id         INTEGER PRIMARY KEY,
	peer       INTEGER NOT NULL,
	collection TEXT NOT NULL,
	record     TEXT NOT NULL,
	hash       BLOB NOT NULL,
	rights     BLOB NOT NULL, -- what the peer let us write then, by its hash
	lsn        INTEGER NOT NULL, -- the record's last row of the log then
	code       TEXT NOT NULL,
	detail     TEXT NOT NULL,
	time       INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX refusals_change ON refusals (peer, hash, collection, record);

CREATE TABLE peers (
	id          INTEGER PRIMARY KEY,
	replica     BLOB NOT NULL,
	epoch       INTEGER NOT NULL,
	name        TEXT NOT NULL,
	read_epoch  INTEGER NOT NULL,
	read_lsn    INTEGER NOT NULL,
	read_chain  BLOB NOT NULL,
	read_filter BLOB NOT NULL, -- of the scope under which its log was read so far
	acked_epoch INTEGER NOT NULL,
	acked_lsn   INTEGER NOT NULL,
	acked_chain BLOB NOT NULL,
	state       TEXT NOT NULL,
	last_error  TEXT NOT NULL,
	attempts    INTEGER NOT NULL,
	seen        INTEGER NOT NULL,
	doubt       INTEGER NOT NULL, -- 1: what came from it may be lost to it
	subject     TEXT NOT NULL, -- who it was known as
	carrier     INTEGER NOT NULL -- 1: no replica, but a stream or the like; acked is what it was handed
) STRICT;
CREATE UNIQUE INDEX peers_replica ON peers (replica, epoch);

CREATE TABLE policies (
	collection TEXT PRIMARY KEY,
	policy     TEXT NOT NULL,
	version    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
