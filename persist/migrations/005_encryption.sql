-- How content is encrypted: Store.Encrypt. The box has the keys of the content
-- and is itself locked with a key that the file does not hold.
CREATE TABLE encryption (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	version INTEGER NOT NULL, -- grows with each change of this row
	last    INTEGER NOT NULL, -- the highest number given to a key: none is used twice
	kdf     TEXT NOT NULL,    -- how the box's key is derived
	box     BLOB NOT NULL     -- empty: the file is not encrypted
) STRICT;
INSERT INTO encryption VALUES (1, 0, 0, '', x'');

-- The number of the key that a row's content is sealed with, 0: it is not. Sealed
-- text is bytes of any kind.
ALTER TABLE log ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE snapshots ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE records ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE parked ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE quarantine ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE refusals ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE peers ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE policies ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;

-- Fields that may stand as plain text in indexes and full texts of an encrypted file.
CREATE TABLE plain_fields (
	collection TEXT NOT NULL,
	path       TEXT NOT NULL, -- as SQLite's JSON functions have it
	field      TEXT NOT NULL, -- as it was declared
	PRIMARY KEY (collection, path)
) STRICT, WITHOUT ROWID;
