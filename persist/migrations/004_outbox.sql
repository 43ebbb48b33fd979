-- What is acknowledged up to this position of the log is not listed any more.
ALTER TABLE meta ADD COLUMN outbox_cleared INTEGER NOT NULL DEFAULT 0;
