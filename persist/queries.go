package persist

// query names a statement of the table below.
type query int

const (
	qBegin query = iota
	qBeginImmediate
	qCommit
	qRollback
	qSavepoint
	qRelease
	qRollbackTo
	qDataVersion
	qHasSealing
	qSealing
	qSetSealing
	qIdentity
	qUnsynced
	qSayUnsynced
	qInsertIdentity
	qSetIdentity
	qKeepActor
	qSpace
	qSetSpace
	qOutboxCleared
	qClearOutbox
	qShown
	qShow
	qUnseen
	qUnseenKey
	qAnyUnseen
	qHide
	qUnhide
	qBeside
	qInsertActor
	qActor
	qRetire
	qRetireOthers
	qRetired
	qAnyRetired

	qHead
	qChainAt
	qLog
	qChunkAt
	qLast
	qFindLast
	qTouched
	qLogAt
	qRowBefore
	qRowsOf
	qBeforeSet
	qAppend

	qSnapshot
	qSnapshotAt
	qRawSizes
	qPutSnapshot
	qEmptyRows
	qEmptied
	qFillRow
	qDropSnapshot

	qMaxRID
	qRecord
	qStored
	qClock
	qClearView
	qRecords
	qItems
	qItemsIn
	qItem
	qCollections
	qConflicted
	qConflictedIn
	qStale
	qIsStale
	qUnable
	qCountStale
	qCountRecords
	qView
	qDuplicates
	qDangling
	qInsertRecord
	qUpdateRecord
	qUpdateRecordAll

	qPeers
	qPeer
	qPeerByID
	qPending
	qInsertPeer
	qUpdatePeer
	qForks
	qForksOf
	qCountForks
	qOpenForks
	qPutFork
	qWithdraw
	qWithdrawn
	qLose
	qRename
	qLost
	qForgotten
	qRIDOf
	qCountForgotten
	qWanted
	qForgetRows
	qPutForgotten
	qWant
	qRemember
	qPurged
	qPurgedLike
	qPurgedSince
	qCountPurged
	qPutPurged
	qLiftPurged
	qRenamePurged
	qPurgeRows
	qPurgeQuarantine
	qPurgeRefusals
	qPurgeForks
	qPurgedRID
	qPurgedLeft
	qKeys
	qKeysAside
	qNamedPurged
	qNamed
	qUnname
	qUnnamed
	qLastView
	qViews
	qViewed
	qAddView
	qTrimViews
	qPolicies
	qPolicy
	qSetPolicy

	qRefusals
	qRefusalsOf
	qCountRefusals
	qTrimRefusals
	qPutRefusal
	qDeleteRefusal
	qPeersOf

	qParked
	qParkedOf
	qParkedCount
	qParkedByID
	qParkedOn
	qParkedBySet
	qParkedUse
	qWaits
	qInsertParked
	qInsertWait
	qDeleteParked
	qDeleteWaits

	qQuarantined
	qQuarantinedCount
	qQuarantinedOf
	qQuarantineUse
	qQuarantineOldest
	qReplaceQuarantined
	qDeleteQuarantined
	qCountDropped
	qStats
	qSizes
	qCollectionStats

	qIndexes
	qIndexesOf
	qInsertIndex
	qDeleteIndex
	qIndexDone
	qText
	qTexts
	qInsertText
	qDeleteText
	qTextDone
	qTextChanged
	qTextGap
	qHasFullText

	qPlainFields
	qPlainField
	qPutPlainField
	qAllPlainFields
	qDropPlainFields
	qIndexedFields

	qIntegrity
	qCheckLog
	qCheckChanges
	qCheckRecords
	qCheckOrphanWaits
	qCheckIdleParked
	qCheckSnapshots
	qCheckUnseen

	numQueries
)

const recordColumns = "rid, collection, id, heads, clock, max_op, json, policy, deleted, conflicts, created, updated, lsn, sealed"

// queries holds every prepared statement, with the words for its errors.
var queries = [numQueries]struct{ what, sql string }{
	qBegin:          {"begin reading", "BEGIN"},
	qBeginImmediate: {"begin transaction", "BEGIN IMMEDIATE"},
	qCommit:         {"commit", "COMMIT"},
	qRollback:       {"roll back", "ROLLBACK"},
	qSavepoint:      {"set savepoint", "SAVEPOINT closure"},
	qRelease:        {"release savepoint", "RELEASE closure"},
	qRollbackTo:     {"roll back to savepoint", "ROLLBACK TO closure"},
	qDataVersion:    {"read data version", "PRAGMA data_version"},
	qHasSealing:     {"read schema", "SELECT 1 FROM sqlite_schema WHERE name = 'encryption'"},
	qSealing:        {"read state of the encryption", "SELECT version, last, kdf, box FROM encryption"},
	qSetSealing:     {"write state of the encryption", "UPDATE encryption SET version = ?, last = ?, kdf = ?, box = ?"},
	qIdentity:       {"read identity", "SELECT replica, epoch FROM meta"},
	qUnsynced:       {"read whether all is synced", unsyncedSQL},
	qSayUnsynced:    {"write that not all is synced", "UPDATE meta SET unsynced = 1"},
	qInsertIdentity: {"write identity", "INSERT INTO meta (one, replica, epoch, created) VALUES (1, ?, ?, ?)"},
	qSetIdentity:    {"write identity", "UPDATE meta SET replica = ?, space = ?"},
	qKeepActor:      {"write incarnation", "INSERT OR IGNORE INTO actors (actor, created) VALUES (?, 0)"},
	qSpace:          {"read space", "SELECT space FROM meta"},
	qSetSpace:       {"write space", "UPDATE meta SET space = ?"},
	qOutboxCleared:  {"read outbox", "SELECT outbox_cleared FROM meta"},
	qClearOutbox:    {"clear outbox", "UPDATE meta SET outbox_cleared = ?"},
	qShown:          {"read what was shown", "SELECT shown, EXISTS (SELECT 1 FROM peers WHERE state = ?) FROM meta"},
	qShow:           {"write what was shown", "UPDATE meta SET shown = ?1 WHERE shown < ?1"},
	qUnseen:         {"look for unseen record", "SELECT 1 FROM unseen WHERE rid = ?"},
	qUnseenKey: {"look for unseen record", `SELECT 1 FROM records r CROSS JOIN unseen u ON u.rid = r.rid
		WHERE r.collection = ? AND r.id = ?`},
	qAnyUnseen: {"look for unseen records", "SELECT EXISTS (SELECT 1 FROM unseen)"},
	qHide:      {"hide record", "INSERT OR IGNORE INTO unseen (rid) VALUES (?)"},
	qUnhide:    {"show record", "DELETE FROM unseen WHERE rid = ?"},
	// From its last one, ?1, back: of each row of the record the records beside it in its set, 0 if
	// there is none; -1 of one that came from a peer or lies up to ?2, where the walk ends. Rows that
	// were withdrawn say nothing.
	qBeside: {"read change sets", `WITH RECURSIVE change (lsn, set_id, source, prev) AS (
		SELECT lsn, set_id, source, prev FROM log WHERE lsn = ?1
		UNION ALL SELECT l.lsn, l.set_id, l.source, l.prev FROM change c CROSS JOIN log l ON l.lsn = c.prev
			WHERE c.prev < c.lsn AND (c.source = -1 OR c.source = 0 AND c.lsn > ?2))
		SELECT DISTINCT CASE WHEN c.source NOT IN (0, -1) OR c.source = 0 AND c.lsn <= ?2 THEN -1 ELSE coalesce(o.rid, 0) END
		FROM change c LEFT JOIN log o ON c.source = 0 AND o.lsn IN (c.lsn - 1, c.lsn + 1) AND o.set_id = c.set_id`},
	qInsertActor:  {"write incarnation", "INSERT INTO actors (actor, created) VALUES (?, ?)"},
	qActor:        {"read incarnation", "SELECT 1 FROM actors WHERE actor = ?"},
	qRetire:       {"end incarnation", "UPDATE actors SET retired = 1 WHERE actor = ?"},
	qRetireOthers: {"end incarnations", "UPDATE actors SET retired = 1 WHERE actor <> ?"},
	qAnyRetired:   {"read incarnations", "SELECT 1 FROM actors WHERE retired <> 0 LIMIT 1"},
	qRetired:      {"read incarnation", "SELECT 1 FROM actors WHERE actor = ? AND retired <> 0"},

	qHead:    {"read end of log", "SELECT lsn, chain FROM log ORDER BY lsn DESC LIMIT 1"},
	qChainAt: {"read log position", "SELECT chain FROM log WHERE lsn = ?"},
	qLog: {"read log", `SELECT l.lsn, l.chain, l.set_id, l.rid, l.hash, l.source, l.time, l.data, r.collection, r.id, l.sealed, EXISTS (SELECT 1 FROM unseen u WHERE u.rid = l.rid)
		FROM log l LEFT JOIN records r ON r.rid = l.rid WHERE l.lsn > ? ORDER BY l.lsn`},
	qChunkAt:   {"read change", "SELECT prev, source, data, sealed, hash FROM log WHERE lsn = ?"},
	qLast:      {"read record's last change", "SELECT lsn FROM records WHERE rid = ?"},
	qFindLast:  {"find record's last change", "SELECT coalesce(max(lsn), 0) FROM log WHERE rid = ?"},
	qTouched:   {"read log", "SELECT rid FROM log WHERE lsn > ?"},
	qLogAt:     {"read log row", "SELECT prev, set_id, hash, source, data, sealed FROM log WHERE lsn = ?"},
	qRowBefore: {"read log row", "SELECT prev, source FROM log WHERE lsn = ?"},
	qRowsOf: {"read log of collections", `SELECT l.lsn FROM log l CROSS JOIN records r ON r.rid = l.rid
		WHERE l.lsn > ? AND l.lsn <= ? AND r.collection IN (SELECT value FROM json_each(?)) ORDER BY l.lsn`},
	qBeforeSet: {"read change set", `SELECT lsn FROM log WHERE lsn < ? AND set_id <> ?
		ORDER BY lsn DESC LIMIT 1`},
	qAppend: {"append to log", "INSERT INTO log (lsn, chain, set_id, rid, prev, hash, source, time, data, sealed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"},

	qSnapshot:   {"read snapshot", "SELECT rid, lsn, data, sealed FROM snapshots WHERE rid = ?"},
	qSnapshotAt: {"read snapshot", "SELECT lsn FROM snapshots WHERE rid = ?"},
	qRawSizes: {"measure changes", `SELECT r.collection, r.id, s.bytes
		FROM (SELECT rid, sum(length(data)) AS bytes FROM log WHERE source >= 0 GROUP BY rid) s
		JOIN records r ON r.rid = s.rid WHERE s.bytes >= ?`},
	qPutSnapshot: {"write snapshot", "INSERT OR REPLACE INTO snapshots (rid, lsn, data, sealed) VALUES (?, ?, ?, ?)"},
	qEmptyRows: {"empty log rows", "UPDATE log SET data = x'' WHERE source >= 0 AND lsn IN (" + changesFrom +
		" SELECT lsn FROM change WHERE lsn > ?2)"},
	qEmptied: {"read log rows", changesFrom + ` SELECT change.lsn FROM change JOIN log ON log.lsn = change.lsn
		WHERE change.lsn > ?2 AND log.source >= 0 AND length(log.data) = 0 ORDER BY change.lsn`},
	qFillRow:      {"fill log row", "UPDATE log SET data = ?, sealed = ? WHERE lsn = ?"},
	qDropSnapshot: {"drop snapshot", "DELETE FROM snapshots WHERE rid = ?"},

	qMaxRID:    {"read last record", "SELECT coalesce(max(rid), 0) FROM records"},
	qRecord:    {"read record", "SELECT " + recordColumns + " FROM records WHERE collection = ? AND id = ?"},
	qStored:    {"read record", "SELECT rid, json, policy, created, updated, lsn, sealed FROM records WHERE collection = ? AND id = ?"},
	qClearView: {"remove record's value", "UPDATE records SET json = NULL WHERE rid = ?"},
	qClock:     {"read record", "SELECT clock FROM records WHERE rid = ?"},
	qRecords:   {"read records", "SELECT " + recordColumns + " FROM records WHERE collection = ? AND id > ? ORDER BY id LIMIT ?"},
	qItems:     {"read heads", "SELECT " + itemColumns + " FROM records"},
	qItemsIn:   {"read heads", "SELECT " + itemColumns + " FROM records WHERE collection = ? AND id >= ? ORDER BY id"},
	qItem:      {"read heads", "SELECT " + itemColumns + " FROM records WHERE rid = ?"},
	qCollections: {"read collections", `WITH RECURSIVE c (name) AS (SELECT min(collection) FROM records
		UNION ALL SELECT (SELECT min(collection) FROM records WHERE collection > c.name) FROM c WHERE c.name IS NOT NULL)
		SELECT name FROM c WHERE name <> ''`}, // one step a collection, DISTINCT would take one a record
	qConflicted: {"read conflicted records", "SELECT " + recordColumns + ` FROM records INDEXED BY records_conflicts
		WHERE conflicts > 0 ORDER BY collection, id`},
	qConflictedIn: {"read conflicted records", "SELECT " + recordColumns + ` FROM records INDEXED BY records_conflicts
		WHERE conflicts > 0 AND collection = ? ORDER BY id`},
	qStale: {"read stale records", "SELECT " + recordColumns + ` FROM records INDEXED BY records_policy
		WHERE collection = ?1 AND policy < ?2 AND policy <> -?2
		UNION ALL SELECT ` + recordColumns + ` FROM records INDEXED BY records_policy
		WHERE collection = ?1 AND policy > ?2 LIMIT ?3`},
	qIsStale: {"look for stale records", `WITH v (version) AS (SELECT coalesce((SELECT version FROM policies WHERE collection = ?1), 0))
		SELECT EXISTS (SELECT 1 FROM v CROSS JOIN records INDEXED BY records_policy
			WHERE collection = ?1 AND policy < version AND policy <> -version)
		OR EXISTS (SELECT 1 FROM v CROSS JOIN records INDEXED BY records_policy WHERE collection = ?1 AND policy > version)`},
	qUnable: {"read records without a view", "SELECT " + recordColumns + ` FROM records INDEXED BY records_policy
		WHERE collection = ?1 AND policy = -?2 LIMIT ?3`},
	qCountRecords: {"count records", "SELECT count(*) FROM records WHERE collection = ? AND deleted = 0"},
	qView: {"read record's value", `SELECT r.json, r.policy, r.deleted, p.version, r.sealed, r.rid FROM records r
		LEFT JOIN policies p ON p.collection = r.collection WHERE r.collection = ? AND r.id = ?`},
	qCountStale: {"count stale records", `SELECT (SELECT count(*) FROM records WHERE collection = ?1 AND policy < ?2)
		+ (SELECT count(*) FROM records WHERE collection = ?1 AND policy > ?2)`},
	qDuplicates: {"find duplicates", `SELECT id, value FROM (SELECT id, value, count(*) OVER (PARTITION BY value) AS n
		FROM (SELECT id, ` + viewJSON("") + ` -> ?2 AS value FROM records WHERE collection = ?1 AND deleted = 0)
		WHERE value <> 'null') WHERE n > 1 ORDER BY value, id`},
	// What a field refers to is a value or a list of them: an element a row.
	qDangling: {"find dangling references", `SELECT r.id, list -> ('$[' || v.key || ']')
		FROM (SELECT id, CASE json_type(value) WHEN 'array' THEN value ELSE json_array(json(value)) END AS list
			FROM (SELECT id, ` + viewJSON("") + ` -> ?2 AS value FROM records WHERE collection = ?1 AND deleted = 0)
			WHERE value <> 'null') r, json_each(r.list) v
		WHERE v.type <> 'null' AND (v.type <> 'text' OR NOT EXISTS
			(SELECT 1 FROM records t WHERE t.collection = ?3 AND t.id = v.value
				AND (t.deleted = 0 OR EXISTS (SELECT 1 FROM forgotten f WHERE f.rid = t.rid))))
		ORDER BY r.id, v.key`},
	// A rid that NewRID gave out in this transaction may have been put already.
	qInsertRecord: {"insert record", "INSERT INTO records (" + recordColumns + `)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (rid) DO UPDATE SET heads = excluded.heads, clock = excluded.clock, max_op = excluded.max_op,
		json = excluded.json, policy = excluded.policy, deleted = excluded.deleted,
		conflicts = excluded.conflicts, updated = excluded.updated, lsn = excluded.lsn, sealed = excluded.sealed`},
	// SQLite rewrites the entries of every index that has a column named by SET,
	// changed or not. So the common update names none of them, and the other one
	// follows when it found nothing.
	qUpdateRecord: {"update record", `UPDATE records SET heads = ?, clock = ?, max_op = ?, json = ?,
		deleted = ?, updated = ?, lsn = ?, sealed = ? WHERE rid = ? AND policy = ? AND conflicts = ?`},
	qUpdateRecordAll: {"update record", `UPDATE records SET heads = ?, clock = ?, max_op = ?, json = ?,
		deleted = ?, updated = ?, lsn = ?, sealed = ?, policy = ?10, conflicts = ?11 WHERE rid = ?9`},

	qPeers:    {"read peers", "SELECT " + peerColumns + " FROM peers ORDER BY id"},
	qPeer:     {"read peer", "SELECT " + peerColumns + " FROM peers WHERE replica = ? AND epoch = ?"},
	qPeersOf:  {"read peers", "SELECT " + peerColumns + " FROM peers WHERE replica = ? ORDER BY id"},
	qPeerByID: {"read peer", "SELECT " + peerColumns + " FROM peers WHERE id = ?"},
	qPending:  {"count pending changes", "SELECT count(*) FROM log WHERE lsn > ? AND source <> ? AND rid NOT IN (SELECT rid FROM unseen)"},
	qInsertPeer: {"insert peer", "INSERT INTO peers (" + peerColumns + `)
		VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`},
	qUpdatePeer: {"update peer", `UPDATE peers SET name = ?, read_epoch = ?, read_lsn = ?, read_chain = ?,
		acked_epoch = ?, acked_lsn = ?, acked_chain = ?, state = ?, last_error = ?, attempts = ?, seen = ?, doubt = ?,
		read_filter = ?, subject = ?, carrier = ?, sealed = ?, carried = ? WHERE id = ?`},
	qForks:      {"read forks", "SELECT " + forkColumns + " FROM forks ORDER BY collection, id, seq"},
	qForksOf:    {"read forks", "SELECT " + forkColumns + " FROM forks WHERE collection = ? AND id = ? ORDER BY seq"},
	qCountForks: {"count forks", "SELECT count(*) FROM forks"},
	qOpenForks:  {"count forks", "SELECT count(*) FROM forks WHERE settled = 0"},
	qPutFork: {"write fork", "INSERT INTO forks (" + forkColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET settled = max(settled, excluded.settled)`},
	qWithdraw: {"withdraw change", "UPDATE log SET source = -1 - source WHERE source >= 0 AND lsn = ?"},
	qWithdrawn: {"read withdrawn changes", changesFrom + ` SELECT log.hash FROM change JOIN log ON log.lsn = change.lsn
		GROUP BY log.hash HAVING max(log.source) < 0`},
	qRename: {"correct a change's hash", "UPDATE log SET hash = ? WHERE lsn = ?"},
	qLose:   {"withdraw change", "UPDATE log SET source = -1 - source, data = x'' WHERE source >= 0 AND lsn = ?"},
	qLost: {"read lost changes", changesFrom + ` SELECT log.lsn, log.hash FROM change JOIN log ON log.lsn = change.lsn
		WHERE log.source < 0 AND length(log.data) = 0 ORDER BY log.lsn`},
	qForgotten:      {"read mark", "SELECT clock, wanted, time FROM forgotten WHERE rid = ?"},
	qRIDOf:          {"read record", "SELECT rid FROM records WHERE collection = ? AND id = ?"},
	qCountForgotten: {"count marks", "SELECT count(*) FROM forgotten"},
	qWanted:         {"read marks", "SELECT rid FROM forgotten WHERE wanted <> 0"},
	qForgetRows: {"forget changes", "UPDATE log SET source = -1 - source, data = x'' WHERE source >= 0 AND lsn IN (" + changesFrom +
		" SELECT lsn FROM change WHERE lsn > ?2)"},
	qPutForgotten: {"write mark", "INSERT OR REPLACE INTO forgotten (rid, clock, wanted, time) VALUES (?, ?, ?, ?)"},
	qWant:         {"write mark", "UPDATE forgotten SET wanted = 1 WHERE rid = ?"},
	qRemember:     {"remove mark", "DELETE FROM forgotten WHERE rid = ?"},
	qPurged:       {"read mark", "SELECT " + purgedColumns + " FROM purged WHERE hash = ?"},
	qPurgedLike:   {"read mark", "SELECT 1 FROM purged WHERE hash BETWEEN ? AND ? LIMIT 1"},
	qPurgedSince:  {"read marks", "SELECT " + purgedColumns + " FROM purged WHERE lsn > ? AND rid > 0"},
	qCountPurged:  {"count marks", "SELECT count(*) FROM purged"},
	qPutPurged:    {"write mark", "INSERT OR REPLACE INTO purged (hash, rid, place, named, lsn, time) VALUES (?, ?, ?, ?, ?, ?)"},
	qLiftPurged:   {"remove mark", "DELETE FROM purged WHERE hash = ? AND (rid = 0 OR named <> 0)"},
	qRenamePurged: {"write mark", "UPDATE purged SET hash = ? WHERE hash = ?"},
	qPurgeRows: {"purge changes", "UPDATE log SET source = CASE WHEN source < 0 THEN source ELSE -1 - source END, data = x'' WHERE lsn IN (" + changesFrom +
		" SELECT lsn FROM change WHERE lsn > ?2)"},
	qPurgeQuarantine: {"release from quarantine", "DELETE FROM quarantine WHERE collection = ? AND record = ?"},
	qPurgeRefusals:   {"forget refusals", "DELETE FROM refusals WHERE collection = ? AND record = ?"},
	qPurgeForks:      {"forget forks", "DELETE FROM forks WHERE collection = ? AND id = ?"},
	qPurgedRID:       {"read mark", "SELECT count(*) FROM purged WHERE rid = ? AND rid > 0"},
	qPurgedLeft: {"check changes", changesFrom + ` SELECT count(*) FROM change JOIN log ON log.lsn = change.lsn
		WHERE change.lsn > ?2 AND (log.source >= 0 OR length(log.data) > 0)`},
	qKeys: {"read names", "SELECT collection, id FROM records"},
	qKeysAside: {"read names", `SELECT collection, record FROM quarantine UNION SELECT collection, record FROM refusals
		UNION SELECT collection, id FROM forks UNION SELECT collection, id FROM parked_on`},
	qNamedPurged: {"read names", "SELECT DISTINCT r.collection FROM purged p JOIN records r ON r.rid = p.rid WHERE p.named <> 0"},
	qNamed:       {"read marks", "SELECT " + purgedColumns + " FROM purged WHERE named <> 0"},
	// No key has an empty collection, so what is renamed is in nobody's way.
	qUnname:   {"remove name", "UPDATE records SET collection = '', id = ?, created = 0, updated = 0 WHERE rid = ?"},
	qUnnamed:  {"write mark", "UPDATE purged SET named = 0 WHERE hash = ?"},
	qLastView: {"read view changes", "SELECT coalesce(max(seq), 0) FROM views"},
	qViews: {"read view changes", `SELECT v.seq, r.collection, r.id, v.lsn FROM views v JOIN records r ON r.rid = v.rid
		WHERE v.seq > ? ORDER BY v.seq LIMIT ?`},
	qViewed:    {"read view changes", "SELECT rid FROM views WHERE seq > ?"},
	qAddView:   {"write view change", "INSERT INTO views (rid, lsn) VALUES (?, ?)"},
	qTrimViews: {"forget view changes", "DELETE FROM views WHERE seq <= ?"},
	qPolicies:  {"read policies", "SELECT collection, policy, version, sealed FROM policies ORDER BY collection"},
	qPolicy:    {"read policy", "SELECT collection, policy, version, sealed FROM policies WHERE collection = ?"},
	qSetPolicy: {"write policy", `INSERT INTO policies (collection, policy, version, sealed) VALUES (?, ?, ?, ?)
		ON CONFLICT (collection) DO UPDATE SET policy = excluded.policy, version = excluded.version, sealed = excluded.sealed`},

	qRefusals:      {"read refusals", "SELECT " + refusalColumns + " FROM refusals ORDER BY id"},
	qRefusalsOf:    {"read refusals", "SELECT " + refusalColumns + " FROM refusals WHERE peer = ? ORDER BY id"},
	qCountRefusals: {"count refusals", "SELECT count(*) FROM refusals WHERE peer = ? AND code NOT IN ('forgotten', 'parked')"},
	qTrimRefusals: {"forget refusals", `DELETE FROM refusals WHERE peer = ?1 AND id <=
		(SELECT id FROM refusals WHERE peer = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)`},
	qPutRefusal:    {"write refusal", "INSERT OR REPLACE INTO refusals (" + refusalColumns + ") VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id"},
	qDeleteRefusal: {"forget refusal", "DELETE FROM refusals WHERE id = ?"},

	qParked:       {"read parked sets", "SELECT " + parkedColumns + " FROM parked ORDER BY id"},
	qParkedOf:     {"read parked sets", "SELECT " + parkedColumns + " FROM parked WHERE peer = ? ORDER BY id"},
	qParkedCount:  {"count parked sets", "SELECT count(*) FROM parked"},
	qParkedByID:   {"read parked set", "SELECT " + parkedColumns + " FROM parked WHERE id = ?"},
	qParkedOn:     {"read parked sets", "SELECT parked FROM parked_on WHERE collection = ? AND id = ? ORDER BY parked"},
	qParkedBySet:  {"read parked set", "SELECT id, size FROM parked WHERE peer = ? AND set_id = ?"},
	qParkedUse:    {"measure parked sets", "SELECT count(*), coalesce(sum(size), 0) FROM parked WHERE peer = ?"},
	qWaits:        {"read waits", "SELECT collection, id FROM parked_on WHERE parked = ?"},
	qInsertParked: {"park set", "INSERT INTO parked (" + parkedColumns + ", size) VALUES (NULL, ?, ?, ?, ?, ?, ?, ?) RETURNING id"},
	qInsertWait:   {"park set", "INSERT OR IGNORE INTO parked_on (collection, id, parked) VALUES (?, ?, ?)"},
	qDeleteParked: {"unpark set", "DELETE FROM parked WHERE id = ?"},
	qDeleteWaits:  {"unpark set", "DELETE FROM parked_on WHERE parked = ?"},

	qQuarantinedCount: {"count quarantined changes", "SELECT count(*) FROM quarantine"},

	qQuarantined:   {"read quarantine", "SELECT " + quarantineColumns + " FROM quarantine ORDER BY id"},
	qQuarantinedOf: {"read quarantine", "SELECT " + quarantineColumns + " FROM quarantine WHERE peer = ? ORDER BY id"},
	qQuarantineUse: {"measure quarantine", "SELECT count(*), coalesce(sum(size), 0) FROM quarantine WHERE peer = ?"},
	qQuarantineOldest: {"read quarantine", `SELECT id, size FROM quarantine INDEXED BY quarantine_size
		WHERE peer = ? ORDER BY id LIMIT 1`},
	qReplaceQuarantined: {"quarantine change", "INSERT OR REPLACE INTO quarantine (" + quarantineColumns + `, size)
		VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`},
	qDeleteQuarantined: {"release from quarantine", "DELETE FROM quarantine WHERE id = ?"},
	qCountDropped: {"count dropped", `INSERT INTO quarantine_dropped (peer, count) VALUES (?, ?)
		ON CONFLICT (peer) DO UPDATE SET count = count + excluded.count`},
	qStats: {"count", `SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM records WHERE deleted <> 0),
		(SELECT count(*) FROM records WHERE conflicts > 0), (SELECT count(*) FROM log),
		(SELECT count(*) FROM parked), (SELECT count(*) FROM quarantine),
		(SELECT coalesce(sum(count), 0) FROM quarantine_dropped), (SELECT count(*) FROM peers),
		(SELECT page_count * page_size FROM pragma_page_count, pragma_page_size)`},
	qSizes: {"measure", `SELECT (SELECT page_count * page_size FROM pragma_page_count, pragma_page_size),
		(SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size),
		(SELECT coalesce(sum(length(data)), 0) FROM log), (SELECT coalesce(sum(length(data)), 0) FROM snapshots),
		(SELECT coalesce(sum(octet_length(json)), 0) FROM records)`},
	qCollectionStats: {"count", `SELECT r.collection, sum(r.deleted = 0), sum(r.deleted <> 0 AND f.rid IS NULL), sum(f.rid IS NOT NULL),
		sum(r.conflicts > 0), coalesce(sum(octet_length(r.json)), 0)
		FROM records r LEFT JOIN forgotten f ON f.rid = r.rid AND f.wanted = 0
		WHERE r.rid NOT IN (SELECT rid FROM purged) GROUP BY r.collection ORDER BY r.collection`},

	qIndexes:     {"read indexes", "SELECT " + indexColumns + " FROM indexes ORDER BY collection, field"},
	qIndexesOf:   {"read indexes", "SELECT " + indexColumns + " FROM indexes WHERE collection = ? ORDER BY field"},
	qInsertIndex: {"declare index", "INSERT INTO indexes (" + indexColumns + ") VALUES (NULL, ?, ?, 0, 0) RETURNING id"},
	qDeleteIndex: {"drop index", "DELETE FROM indexes WHERE id = ?"},
	qIndexDone:   {"build index", "UPDATE indexes SET done = ?, ready = ? WHERE id = ?"},
	qText:        {"read full text", "SELECT " + textColumns + " FROM texts WHERE collection = ?"},
	qTexts:       {"read full texts", "SELECT id FROM texts"},
	qInsertText:  {"declare full text", "INSERT INTO texts (" + textColumns + ") VALUES (NULL, ?, ?, 0, 0, ?, ?) RETURNING id"},
	qDeleteText:  {"drop full text", "DELETE FROM texts WHERE id = ?"},
	qTextDone:    {"update full text", "UPDATE texts SET done = ?, ready = ?, lsn = ?, view = ? WHERE id = ?"},
	qTextChanged: {"read changed records", `SELECT rid FROM log WHERE lsn > ?1 AND lsn <= ?2
		UNION SELECT rid FROM views WHERE seq > ?3 AND seq <= ?4`},
	qTextGap: {"read end of full text", `SELECT coalesce((SELECT min(lsn) FROM log) > ?1 + 1, 0)
		OR coalesce((SELECT min(seq) FROM views) > ?2 + 1, 0)`},
	qPlainFields:     {"read plain fields", "SELECT field FROM plain_fields WHERE collection = ? ORDER BY path"},
	qAllPlainFields:  {"read plain fields", "SELECT collection, field FROM plain_fields ORDER BY collection, path"},
	qPlainField:      {"read plain fields", "SELECT 1 FROM plain_fields WHERE collection = ? AND path = ?"},
	qPutPlainField:   {"declare plain field", "INSERT OR REPLACE INTO plain_fields (collection, path, field) VALUES (?, ?, ?)"},
	qDropPlainFields: {"forget plain fields", "DELETE FROM plain_fields WHERE collection = ?"},
	qIndexedFields: {"read indexes", `SELECT collection, field FROM indexes
		UNION ALL SELECT t.collection, f.value FROM texts t, json_each(t.fields) f`},
	qHasFullText: {"look for full text", "SELECT sqlite_compileoption_used('ENABLE_FTS5')"},

	qCheckLog: {"check log", `SELECT l.lsn, l.chain, l.set_id, l.rid, l.hash, l.source, l.time, l.data, r.collection, r.id, l.sealed, 0, l.prev
		FROM log l LEFT JOIN records r ON r.rid = l.rid ORDER BY l.lsn`},
	qCheckChanges: {"check changes", changesFrom + ` SELECT log.lsn, log.data, log.hash, log.sealed FROM change JOIN log ON log.lsn = change.lsn
		WHERE change.lsn > ?2 AND log.source >= 0 ORDER BY change.lsn`},
	qIntegrity:    {"check file", "PRAGMA integrity_check"},
	qCheckRecords: {"check records", "SELECT " + recordColumns + " FROM records ORDER BY rid"},
	qCheckOrphanWaits: {"check parked sets", `SELECT parked, collection, id FROM parked_on
		WHERE parked NOT IN (SELECT id FROM parked)`},
	qCheckIdleParked: {"check parked sets", `SELECT id, peer FROM parked WHERE id NOT IN (SELECT parked FROM parked_on)`},
	qCheckSnapshots: {"check snapshots", `SELECT s.rid, s.lsn FROM snapshots s
		LEFT JOIN records r ON r.rid = s.rid WHERE r.rid IS NULL`},
	qCheckUnseen: {"check unseen records", `SELECT u.rid, coalesce(r.collection, ''), coalesce(r.id, '') FROM unseen u
		LEFT JOIN records r ON r.rid = u.rid WHERE r.rid IS NULL OR r.deleted = 0`},
}

// changesFrom finds the log rows of a record from its last one, ?1, down to the
// first behind ?2 (the first of all may lie there). A row names only earlier ones,
// so the walk ends in a damaged file too.
const changesFrom = `WITH RECURSIVE change (lsn) AS (VALUES (?1) UNION ALL
	SELECT log.prev FROM change CROSS JOIN log ON log.lsn = change.lsn
	WHERE log.prev > ?2 AND log.prev < log.lsn)`

const (
	itemColumns = "rid, collection, id, heads, EXISTS (SELECT 1 FROM unseen u WHERE u.rid = records.rid)"
	peerColumns = `id, replica, epoch, name, read_epoch, read_lsn, read_chain,
		acked_epoch, acked_lsn, acked_chain, state, last_error, attempts, seen, doubt, read_filter, subject, carrier, sealed, carried`
	purgedColumns     = "hash, rid, place, lsn, time"
	indexColumns      = "id, collection, field, done, ready"
	textColumns       = "id, collection, fields, done, ready, lsn, view"
	forkColumns       = "collection, id, actor, seq, have, got, peer, time, settled"
	parkedColumns     = "id, peer, set_id, reason, time, data, sealed"
	refusalColumns    = "id, peer, collection, record, hash, rights, lsn, code, detail, time, sealed"
	quarantineColumns = "id, peer, collection, record, hash, code, detail, time, data, sealed"
)
