-- What the peer is sent of this log, of which acked says how far it has read it; '':
-- everything.
ALTER TABLE peers ADD COLUMN carried TEXT NOT NULL DEFAULT '';
