-- Records whose changes were dropped here. While wanted is 0 the record's row
-- keeps its heads and clock, and its rows of the log are withdrawn and empty; 1:
-- the changes are to come back, and the row says what has.
CREATE TABLE forgotten (
	rid    INTEGER PRIMARY KEY,
	clock  BLOB NOT NULL, -- of the record when it was forgotten
	wanted INTEGER NOT NULL,
	time   INTEGER NOT NULL
) STRICT;
