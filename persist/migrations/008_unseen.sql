-- Records that were created and deleted here before anybody was shown them.
CREATE TABLE unseen (rid INTEGER PRIMARY KEY) STRICT;

-- Up to here somebody may have been shown the log: a peer, or who holds a bundle or a
-- backup. While a peer is connected that is so of all of it.
ALTER TABLE meta ADD COLUMN shown INTEGER NOT NULL DEFAULT 0;
UPDATE meta SET shown = (SELECT coalesce(max(lsn), 0) FROM log);
