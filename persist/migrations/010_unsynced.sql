-- 1: since the WAL was last known to be whole somebody had the file open who does not
-- wait for the disk, so that after a power cut it may end anywhere. Of a file that is
-- older than this nobody knows.
ALTER TABLE meta ADD COLUMN unsynced INTEGER NOT NULL DEFAULT 0;
UPDATE meta SET unsynced = 1 WHERE EXISTS (SELECT 1 FROM log);
