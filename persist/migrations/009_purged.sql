-- Records whose data is gone for good, by a hash of their names: the markers that the
-- log holds, found without reading it. No change of them is taken.
CREATE TABLE purged (
	hash  BLOB PRIMARY KEY,
	rid   INTEGER NOT NULL, -- the record's row, 0: there is none
	place INTEGER NOT NULL, -- of the record among those that are compared, 64 bits as two's complement
	named INTEGER NOT NULL, -- 1: the record's row still has its name
	lsn   INTEGER NOT NULL, -- a position behind all that the log held before
	time  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX purged_rid ON purged (rid) WHERE rid > 0;
CREATE INDEX purged_lsn ON purged (lsn);
