-- Fields whose values are kept sorted, in the tables field_ID that triggers on
-- records keep up to date.
CREATE TABLE indexes (
	id         INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again: who builds one may not see it dropped
	collection TEXT NOT NULL,
	field      TEXT NOT NULL, -- a path
	done       INTEGER NOT NULL, -- records up to this rid are in it
	ready      INTEGER NOT NULL -- 1: all are
) STRICT;
CREATE UNIQUE INDEX indexes_field ON indexes (collection, field);

-- Collections whose words are kept, in the virtual tables text_ID. They follow the
-- log: a program without the module that reads them still writes records.
CREATE TABLE texts (
	id         INTEGER PRIMARY KEY,
	collection TEXT NOT NULL,
	fields     TEXT NOT NULL, -- paths, as a JSON array
	done       INTEGER NOT NULL, -- records up to this rid are in it
	ready      INTEGER NOT NULL, -- 1: all are
	lsn        INTEGER NOT NULL, -- changes up to here are in it,
	view       INTEGER NOT NULL -- and view changes up to here
) STRICT;
CREATE UNIQUE INDEX texts_collection ON texts (collection);
