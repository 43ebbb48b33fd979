// Package replica is what an application embeds: a replica is one SQLite file of
// records, each an Automerge document. It is read and written locally, always,
// and exchanges change sets with other replicas whenever a path to them exists.
//
//	r, err := replica.Open(ctx, "notes.db", nil)
//	err = r.Update(ctx, func(tx *replica.Tx) error {
//		return tx.Put(crdt.Key{Collection: "notes", ID: "1"}, map[string]any{"title": "Tides"})
//	})
//	counts, err := r.Sync(ctx, link)
//
// It is not a database server, and not a carrier: links come from
// transport/httplink and its siblings.
//
// # One path
//
// Local and remote changes go through commit, in commit.go, and nowhere else. A
// batch stages what a closure or a peer's frame wants; flush writes it in one
// transaction: log rows, record rows with heads, clock and the view's JSON, the
// peer's cursor. Histories in memory are a cache of the writer goroutine. A
// change is applied to them at once; if the transaction does not commit, the
// histories it touched are forgotten and loaded again when next needed. That is
// the whole of rolling back.
//
// Readers never see those histories: they read what is committed, from the
// file, so nothing is shown that is not durable.
//
// When another process has committed in between, the whole cache is forgotten.
// Two processes that write in turns pay for it with a reload of the record,
// about the cost of a cold write; nobody else pays anything.
//
// # Wake-ups
//
// The tailer (tail.go) reads each commit once and wakes watchers and sessions;
// it keeps the last few MiB of the log for them. It runs only while somebody
// listens.
//
// # Watching
//
// A watcher holds a position, no events: it reads the log behind it when its loop asks for
// more, so that one that stalls costs nothing. Listeners are kept by the record or
// collection that concerns them (ears.go): a row costs those it concerns, and the
// tailer notes for each what to pass over. On 2026-11-21, with 1,000 watchers of a
// record or collection each, on two idle cores (go test ./replica -run '^$' -bench
// Watchers), medians, of the same with one watcher; the limit is 1.2:
//
//	                          record  collection
//	edit                      1.08    0.93
//	edit, until it was told   1.12    1.00
//
// A query's watchers are concerned by all rows of its collection, and each judges for
// itself whether the record is in, by what is shown when the loop comes to it. Deciding
// from the history before and after each change, which was considered, would not do for
// full text, which knows only what is now, nor after a change of the policy. A
// loop may so hold states later than its position says; hence the first event of each
// record behind From says enter or leave, never update.
//
// # Sessions
//
// The protocol stands in session.go. Both sides run the same code. Positions
// are cursors: a frame fits when its From is where the receiver stands, so
// lost, repeated and reordered frames need no numbers of their own: what lies
// behind is dropped, what lies ahead asks for a resend from the last
// acknowledged position. The receiver's cursor is written in the transaction of
// the data it counts.
//
// A set that the peer sent is not sent back: within a session that is known by
// log position, from earlier ones by whose it is. A peer restored from an old backup
// may have lost what it once sent; reconciliation finds that.
//
// # When links exchange
//
// A Connection makes appointments (appointment.go): the next session is due now, after a
// backoff, when Every has passed, or when somebody asks. Appointments are kept by the
// wall clock, looked at every 10 s, because timers stand still while a machine sleeps;
// and by the timer, for when the wall clock is set back. A path that returns (SetOnline,
// Resume, a transport.Prober that got an answer) brings the appointment forward. Only
// what fails to reach the peer counts as a failed attempt: not a session that broke
// off, nor one that was cut by SetOnline. What the application says of the network
// holds more than what a probe would find: nothing is probed while it says offline.
//
// A run that has moved its limit is left as Drain leaves a session: what is under way is
// acknowledged, what comes after is turned away, unacknowledged, and comes again. The
// peer's last few frames, up to its window of 4 MiB, may be sent twice for that.
//
// # Priority
//
// A log is sent in order, because a cursor is what says how far the peer is. What has
// Priority goes ahead of that in loose frames, whole sets at a time, each only when
// nothing that stands before it in a record's log waits its turn (priority.go); when its
// turn comes it is left out. It must not be left out when it was lost: such frames are
// numbered, each frame of the log names the last one before it, and a receiver that lacks
// one asks for the log from the last acknowledged position, from where nothing is left out
// then. Sending it twice instead, which needs no numbers, was considered: a backlog that
// is urgent for the most part would cost twice.
//
// Nothing is kept of it in the files. A set that came ahead has its receipt when the
// cursor has passed it. Until then the receiver's file says that the peer is in doubt: if
// that loses what it sent, since an old copy of its file was put back, its cursor alone
// would not show that. After a session that broke off there the next one compares, once
// the log has come as far as it went: before that it would ask for what is on its way.
//
// For each 2 MiB ahead a page of the log goes too, so that sessions that keep breaking
// off still get on. Runs of MaxPerRun would not, and exclude it. On 2026-11-21 an order
// behind 1,500 logs, of 1.4 MB, came before all of them, without it behind all of them
// (go test ./replica -run TestPriority -v).
//
// # Reconciliation
//
// Streams give speed, reconciliation gives correctness. It is range-based set
// reconciliation (A. Meyer, "Range-Based Set Reconciliation", arXiv:2212.13567, 2022):
// two sides compare fingerprints of ranges, and divide further those that differ. An
// item is a record's name with its heads. Items are ordered by the first 8 bytes of
// SHA-256 of the name, so that a range is a prefix of bits and ranges are even. The
// fingerprint of a range is a hash of the count and of the sum, modulo 2^256, of the
// items' SHA-256. Exclusive-or in place of the sum could be solved for sets that
// cancel out. Sums have a weakness too (D. Wagner's generalised birthday, 2002): who
// may write, and writes tens of thousands of chosen records, might hide differences
// that it made itself; the stream still brings them. Names that are chosen to fall
// into one place make lists longer, and nothing else: ranges divide down to 64 bits.
//
// Each half of a round trip descends a level, so that 100 of a million records are found in
// two; the third asks for what is missing and the fourth confirms what was pushed.
// What is missing follows from the record's clocks: a Need carries the asker's, the
// answer is whole change sets, Loose from the log, then the answerer's clock where it
// lacks something itself. Answering keeps no state; the side that leads asks again
// when nothing comes, and believes the peer's heads, told after the sets were applied,
// not that they arrived. Each Need says how many frames went before it: who lacks some
// says so, and has the peer pack anew what it sends from then on. Heads that differ under
// equal clocks are a fork: the whole history is asked for, so that it is noted by each
// side for itself, and from then on it is reported and not asked for. What either side
// refused is not asked for again either.
//
// An answer holds the oldest 2 MiB of what is missing, with the last set whole, and says
// how far in its log it went; the next request for these records goes on behind that. The
// position is good without clocks too, which a whole history needs, and an answerer that
// gathers what is enough at once never holds more of a record. What the peer lacks is
// pushed when there is no more to come from it.
//
// The tree is one array of about 16 records a leaf, made by a scan when first needed
// and kept up by reading the log: a changed record has its leaf read again, nothing is
// added to a commit, and commits of other processes are seen. A column and an index of
// places in the file, which was considered, would cost every insert another page and
// save 4 bytes a record of memory. Scopes have a tree each, the last four are kept.
//
// It happens when a cursor is not in the other's log, when the filter changed under
// which a log is sent, when the file says that what came from the peer is in doubt
// (loose sets, those with priority until the cursor has passed them, the front of a large frame, two sessions with one peer at once: the
// cursor does not count these), when sets wait for others, and every
// Options.ReconcileEvery. A log whose cursor does not fit is read from its end on, and
// the cursor in the file stays what it was until reconciliation is done; so a session
// that breaks off begins anew. A side that still reconciles has not sent its End, which
// is what a one-shot Sync waits for. A new peer, whose log was never read, is streamed
// from 0, and so is one that does not know "ranges".
//
// Compared is what both directions of the session let be seen. If the side that leads
// may not show what it compares (it may fetch what it must not send), it asks without
// showing its own: one more trip a level, and it pulls only. Then, and wherever
// reconciliation does not go both ways, what a peer may have lost of its own is streamed
// to it again.
//
// A peer that lies about prints, items, heads, clocks or positions costs a bounded number
// of requests: 64 in a row that lead to nothing, 200 and one for each few leaves in all,
// not counted those that brought changes which this side had not, or after which the peer
// lacks fewer than ever before. The cursor then stays where it was. So the whole of a
// history that both have is compared up to 128 MiB. Change sets that came and changed
// nothing lead to nothing: a record of which the peer has more to say, time and again, and
// goes no further in its log, is left different after three more answers, and logged, and
// the rest goes on.
//
// Measured on 2026-11-21 on 2 idle cores (go test -run '^$' -bench Reconcile -benchtime 5x
// -reconcile.records 1000000 ./replica), limits in parentheses:
//
//	two replicas of 1,000,000 records, 100 differ    4 round trips (4), 127 KB (200), 0.35 s (1)
//	trees, for the first time, both replicas         5.1 s
//	memory of a tree                                 10 bytes a record
//
// # Scopes and rights
//
// A session carries, in each direction, the records that all concerned agree to
// (carry, in scope.go): sent is what the peer wants (its Hello), may read (its Grant)
// and is to be pushed (this side's options); taken is what this side wants and the
// peer may write. The rule stands in one place a direction, sender.sends and
// session.forbidden, and reconciliation asks the same carry. The reserved collection
// goes wherever anything goes, and only admins write it; but the tags of a record name
// it, so they go where the record goes.
//
// A set of which the peer may have a part goes out as that part, a set of its own: sets
// are atomic among the records that a replica may hold. A set that a peer may not bring
// in part is refused whole, and nothing of it is kept. What is held already needs no
// right, so that a resend is no offence. Without the right to relay a peer brings its own
// replica's actors only; and since a replica's name is all that tells actors apart, a
// name belongs to the subject that first showed it.
//
// A cursor is worth something only together with the filter under which the log was read
// to it: what the peer sends, and what it may write. Both are in one hash (readFilter),
// kept in the peer's row; another one leads to reconciliation. So a wider selector, and
// wider rights, bring what was left out. A direction in which nothing is carried moves no
// cursor.
//
// A condition on a field is evaluated on the record as it is when the log is read, not as
// it was at the change: the stored value of back then is not kept. Hence a record that has
// left is not even sent the change by which it left. A record that comes in is sent its
// latest change; the peer parks that, and whoever parks a set has a run of reconciliation
// made, which brings the rest (lack.go). Considered and left: sending the whole history with
// the first change that passes, which needs to remember what was passed over, cannot over
// a reconnection, and sends it again in each session. A policy that changes what is shown
// brings records in only with their next change or the next reconciliation.
//
// What a peer refuses is kept in its file (refused.go): a refusal stands while the peer's
// rights, told by the hash in its Hello, and the record are what they were, and, unless it
// was for lack of rights, the peer's file has not been put back: a fork noted with it
// would be known to one side only. Standing ones are sent by no path, and a one-shot
// exchange that leaves them is not complete.
//
// # Operations
//
// Metrics are atomic counters and, for what stands, a look at the open sessions and at
// two counts in the file, when somebody asks: no observer is called on the way of a
// change. A hub's replicas share the counters, so that they never decrease when a space
// is closed. Bytes received are not divided by kind of frame: a link may have read the
// next frame already when it hands over one.
//
// Drain stops reading the log, and ends a session when nothing that was sent waits for
// its ack and nothing that was read waits to be applied. It does not wait for a peer to
// run out of changes: what it sends later is not acknowledged, so it sends it again.
//
// # Policies
//
// A collection's policy is this replica's own, else the space's, else automerge.
// The space's is an ordinary record, _godwit/policy-COLLECTION, so it replicates and
// is settled like any other; nobody but SetSpacePolicy writes there locally. What
// cannot be read of it, whoever sent it, is ignored, and Check reports it. When such a
// record changes, the same transaction gives the collection's view a new version,
// which makes its stored values stale, and the commit wakes the rebuild.
//
// A row that would have needed a function which this process lacks holds what
// automerge shows, under the negative version: stale for everybody, but not tried
// again here. Reading it gives that value, and the process has logged the lack
// when it first read the policy. An error instead would make every conflicted record
// unreadable for the command line.
//
// # Refusals
//
// A set is applied whole or not at all. If one of its changes misses a
// dependency the set is parked; if one is not valid the change goes into
// quarantine with the reason and its set is not applied. Both are told to the
// sender in the ack, and neither stops the session.
//
// # Outbox and receipts
//
// How far a change set is on its way follows from its position: a peer that has read the
// log beyond it has it on disk, unless it refused it; one that was sent the log beyond it is
// being waited for. So the outbox is a look at the log behind the lowest acknowledgement that
// counts, a receipt a comparison of two numbers, and a write costs nothing for either. What a
// process knows that is not in the file yet is asked of its open sessions; another process
// learns of it when they write their cursors down, a second after they have come to rest.
//
// A peer whose cursor is not in this log (a file that was put back) is sent the log from its
// end on, and reconciles the rest: until it says that this made both equal, nothing counts as
// acknowledged. What it is sent at all is written down with the cursor (carried.go), sealed
// in an encrypted file since conditions hold values: a record outside is left out, not
// acknowledged. When that changes, a record has to be in both, the old and the new, until the
// peer says that it has compared and lacks nothing. A condition on fields is held against the
// value that a record has now; what was sent of it when it met the condition then counts as
// left out too: a receipt may be missing, never wrong.
//
// What a peer parked, and what it lacks of a record that it has forgotten, is kept among the
// refusals, under codes of their own, until it is known to have it. A refusal that is offered
// again, as rights or record have changed, stands until then too: until a run of this side
// found the record equal, or the peer acknowledged the set in the order of the log, or it had
// asked for it itself and said then that it lacks nothing (refused.go).
//
// A carrier's acknowledgement is never a receipt. An old life of a peer (an epoch before the
// last one seen) is not looked at. Whom this replica dials counts, and the neighbours and
// clients that dial it only if it dials nobody: the outbox of a client should not wait for a
// laptop that once came by.
//
// WaitFor has the peer asked for its acknowledgement (Changes.Prompt), because those of a
// live stream are held back by up to half a second; the next frame asks, or one of its own
// when all is sent. WatchOutbox compares what it finds at each wake-up with what it told last,
// and puts in the states that must have lain between: an acknowledgement proves that the set
// was sent. Wake-ups carry no data here either.
//
// # Abandoning
//
// Abandon withdraws what was refused as the repair of a fork withdraws a branch: positions
// and chain stay what peers know. What goes is whole change sets, what builds on them, and
// the sets that came with that, so that no set is ever half here. The actors that wrote it
// are retired in the file, because the record's clock goes back and their sequence numbers
// would be given out again, while a peer may have parked what builds on the first one's: the
// next write begins a new incarnation, also one that waits already, and that of another
// process, which looks whenever another one has committed. Considered and left: an actor of
// its own for each record that lost something, which would have to be found again at each
// edit. A record of which nothing is left has empty heads, and is taken for none by those who
// read, list and compare. The digests learn of it from the view changes, as watchers do.
//
// A change that another peer has would come back by reconciliation, and be shown again: so
// Abandon declines. What it cannot know of (a stream, a bundle, a copy of a peer) may come
// back, and is then a change like others: nothing remembers that it was given up. From then
// on each session begins with a comparison, since a peer that once had the change from here
// takes it for known.
//
// # What nobody was shown
//
// A record that was made and deleted here, and that no peer, bundle or backup saw in
// between, is hidden (unseen.go): its rows are passed over by whatever sends, and it is like
// none where replicas are compared. The outbox does not list it, Explain says why. Nothing is
// taken away from it here: its history, its value of back then and watchers are what they
// were.
//
// Whether it was seen is judged in the transaction that deletes it, which alone pays for
// this, by what the file says: other processes count. A session writes its peer's row when it
// begins, and while that says connected everything counts as shown; so does everything up to
// the end of the log when a session ends, and before a bundle or a backup is written. A crash
// leaves the row as it is until the next session with that peer ends. A record that shares a
// change set with one that stays is sent: a set is taken whole.
//
// A copy of the file (cp, a snapshot of a machine) may have shown what this file believes
// unseen. So a hidden record of which anything arrives, and one that is written again, comes
// out: its rows are withdrawn, and its changes, the deletion with them, put behind the end of
// the log, as fetching a forgotten record does. Whoever has read on since is so sent them by
// the stream. A peer whose cursor is not where this file left it has perhaps met such a copy,
// and is compared with. Dropping the changes for good, as a withdrawal would, was considered:
// then the record would come back from whoever has it, and the deletion be lost; and sequence
// numbers would be given out twice. So was a mark for each peer: then two replicas that are
// told different things compare as different.
//
// # Hostile bytes
//
// What a peer sends is bounded before it is held, parsed or kept: frames by the
// codec, sets by MaxSetBytes, MaxSetChanges and MaxSetOps, what waits and what was
// refused by persist's caps, the exceptions of an ack by what a frame holds. A few
// dozen bytes can stand for a million operations: a session holds one such set at a
// time, and what a parked set waits for is looked at before the set is parsed.
//
// TestMutantsHarmNoReplica alters changes of all types, authored here, by the core
// and by JavaScript, and sends them through a session. Each record that comes of it
// is edited here, and loaded here and in automerge-go, in two orders, before and
// after a save. On 2026-11-21, at commit ae9a8cf, in 554 s beside other work:
//
//	go test ./replica -run TestMutantsHarmNoReplica -timeout 0 -v -mutants 2000000 -mutants.seed 50000
//
//	mutants   accepted  records  deaths  poisoned  differing  problems of Check
//	2002478   325550    20000    0       0         0          0
//
// As many from seed 10000, at commit d78f845, took 665 s of CPU and 635 MB at the peak.
// Of fourteen bugs planted, in the checks and in commit, it found thirteen within
// 30,000 mutants each; increments of what is no counter are harmless to the core. The
// second order of loading is there because without it references outside of a
// change's past went unnoticed. An earlier run, from seed 20000, found a change that
// the core cannot save (an expand column of a lone zero, taken for an absent one);
// TestColumnsHaveOneEncoding has it now.
//
// # Speed
//
// On 2026-11-21, 2 cores of an AMD EPYC, go test -run '^$' -bench . ./replica. The
// limit is measured in the same run: raw is one transaction of mattn/go-sqlite3 that
// updates a row of 1,000 and inserts one.
//
//	single-field update, NORMAL, of raw       0.65     47 us against 30
//	single-field update, FULL, of raw         0.76     207 us against 158
//	eight writers, FULL, of raw               3.1
//	with 10,000 earlier changes, of 10        1.0      NORMAL and FULL
//	cold, 20 changes, of warm                 1.42     FULL; 2.39 at NORMAL
//	cold sync of 10,000 records, 4 changes    13,300 records/s, 61 bytes a record (474 of raw changes)
//	cold sync of 100,000 (-large)             8,700 records/s (8,000), 166 MB resident (200), 216
//	                                          bytes a record; both on idle cores
//	2,000 records healed after a partition    0.10 s, 47 KB
//	live, A to B's watcher through a hub      2.2 times three raw commits and two hops, p50;
//	                                          2.5 with a load of 10 (2.7 before watchers and the
//	                                          tailer read the file once a commit)
//	opening 100,000 records                   1.2 ms, 17 MB resident
//
// A cold sync is as fast as the receiver's writer, which is never idle. With 100,000
// records each is met again after all the others, so its history has been dropped and is
// read anew for each change: reading the row is a sixth of the writer's time, the changes
// over a quarter, writing the two rows another quarter. Against the commit before, in
// alternation with it on the same cores: 1.3 to 1.5 times the records/s, 0.7 of the CPU,
// 160 MB instead of 240 (100,000 records); 1.26 times (10,000). What it came from: the
// tailer no longer copies its rows with each page (44% of all bytes that were allocated);
// changes are read one by one instead of by a recursive query; a history has no table of
// few actors, no scratch space; a larger WAL (persist). A page cache of 16 MB instead of 8
// for the writer gains nothing. Not tried: a cache that a scan does not empty (40 MB would
// hold one record in six), decoding histories outside of the writer.
//
// Half of what a cold update costs beyond a warm one is SQLite stepping through the
// record's rows, which lie scattered in the log; a sixth is parsing.
//
// # Many sessions
//
// BenchmarkFanOut: 1,000 replicas connected by WebSockets, which unpack and acknowledge
// each update as a session does in a process of their own, against a bare WebSocket server
// that sends as many messages of the same size (go test ./replica -run '^$' -bench FanOut
// -benchtime 10x). The limits are 3 times the CPU, and 40 KiB of heap and stacks for an idle
// session. The
// receivers acknowledge the less often the faster the rounds are, so what comes out
// depends on who else is at work. On 2026-11-21, two shared cores, each beside the code
// before in turns:
//
//		load of the machine             1       11      28 (a round then takes longer than ackEvery)
//		CPU, of the bare server's       2.4     2.5     3.5
//		the same, before                3.5     3.8     3.7
//		KiB for an idle session         37.4    36.0    35.9
//
//	  - A goroutine costs 5 KiB, so an idle session has but one, which receives, and one of
//	    the carrier's: sending, applying and reconciling are workers (worker.go). The
//	    carrier's buffers are small (httplink's hijack.go).
//	  - A sender that has said it is at the end learns of rows from the tailer alone, and is
//	    not woken for acknowledgements: each used to read the file.
//	  - Acknowledgements of what comes live are half a second apart (ack.go). With 20 ms nothing is
//	    gained, since to deliver one update to a thousand takes longer than that.
//	  - Nothing is shared between the packers of sessions. Packing is an eighth of the
//	    CPU; a frame that suits all would need sessions with the same tables.
//
// Of the hub's time (-cpuprofile of the same, with one acknowledgement for about five
// updates), writing to the socket is about 38%, packing 15%, reading and noting
// acknowledgements 10%, where they were 30% when there was one for each update, growing
// the stacks of workers 5%, reading the tail 4%, and writing down cursors 3%.
//
// # Time
//
// A point in a record's history is a set of heads; Point reads one from what a
// person writes: heads, a time, or a tag. Tags live in the reserved collection
// _godwit, a record for each tagged record and a field for each tag, so that they
// replicate like anything else and merge. No tag may read as a time or as heads.
//
// Watch events carry what their change made different. The watcher works it out
// (follow.go), from the log, on histories of its own: the writer does nothing for
// it, nobody pays while nobody watches, and it is the same for changes of other
// processes. A record's first event costs reading its changes.
//
// # Typed collections
//
// A Collection compiles its type once into codecs (typed*.go): they read the stored JSON
// straight into the Go value, in one pass, and write values as the trees that crdt
// takes. What to write follows from three trees: the value as it was read, as it is to
// be, and as the record has it. Only what differs between the first two is written, so
// what the type does not know, or what could not be read, is not touched. Comparing
// with the record itself, as Tx.Put does, would drop the unknown fields of a list's
// elements.
//
//   - Lists are aligned by the elements' identity, else by equality, then by place in
//     what is left between equal ones; those outside the longest run that keeps its
//     order are moved.
//   - A nil list or map is stored as an empty one: of two lists that are made at the
//     same time one wins, in one list both appends stay.
//   - An operation that fails after it has written something dooms its transaction, so
//     a closure that passes over errors commits nothing half-made.
//
// Lenses (lens.go): records are stored as version 1 has them, for ever, and each newer
// version is a look at that. Storing the newest and translating for the old was
// considered: old apps are out there and know no lens. So was writing both fields: two
// copies diverge when both are edited apart, where one field merges. The price is that
// raw readers, queries and policies go by the old names. A lens reads through trees, a
// record without lenses does not pay for it. The version is the app's and stands in no
// file: a record that did would be the reserved collection's, which few may write.
//
// PutAll commits 500 records at a time and keeps none of them in memory. Measured on
// 2026-11-21, 2 idle cores, limits in parentheses (go test -run '^$' -bench
// 'GetTyped|BenchmarkEdit|PutAll|Growth' -large ./replica, Growth with -benchtime 200x):
//
//	typed Get, of raw read and json.Unmarshal    0.78 (1.5); through a lens 1.2
//	Edit at FULL, eight writers, of raw          2.3 times as fast (1.5)
//	PutAll of 100,000 records of 5 fields        38,500 records/s (10,000); 37 MB at the peak (150)
//	1,000 to 1,000,000 records, slower by        update 1.2 times, 0.63 of raw SQLite's (1.3);
//	                                             Get 2.4 times, 0.96 of raw SQLite's (1.3)
//
// # Constraints
//
// Merging can break what each replica kept to: a name that two records took, a
// reference to a record that another replica deleted. SetConstraints declares what
// should hold, Violations lists where it does not. Both are views: no write is
// refused for them, since the replica that would have to refuse may learn of it
// last. The constraints are a record of _godwit, so all replicas list the same;
// it is flat, because of two maps that are made at the same time one wins.
// Violations is SQL over the stored values (20,000 records with two constraints took
// 0.2 s on 2 shared cores), and reads a history only to say who of
// several was first.
//
// # Queries
//
// A query is SQL over the stored values (persist/query*.go). Where these follow an older
// policy they are rebuilt first, so that a condition holds of what Get shows. A loop over
// the results holds no snapshot open: the first 256 records are read at once, of the rest
// only their RIDs, and pages of them as the loop goes on. Going on behind the last record
// page by page, as List does, would sort all that is left again for each page when no
// index has the order. After takes an item and not a token: its place is worked out from
// the value that the caller was shown, whatever became of the record since.
//
// There are no statistics, so which index serves is a rule (persist/query_index.go) that
// Plan shows: equality, then In, then a range, then the order.
//
// Measured (go test ./replica -run '^$' -bench BenchmarkQuery -query.records 1000000
// -benchtime 100x; 2026-11-21, two idle cores; 50 records a query, against the same rows
// in a table with an index, prepared, through database/sql; medians, and in parentheses
// the best of each; the limit is 1.5):
//
//	                       1,000,000 records      20,000 records
//	field equal            0.89 of raw (1.07)     1.7
//	field at least, sorted 1.16 (1.11)            1.8
//
// Of 20,000 records SQLite's cache holds the raw rows and not ours, which have heads and
// clock beside the value.
//
// # Forked records
//
// Two changes of a record with one actor and sequence number cannot be in one
// history: no Automerge takes the second. Actors of replicas never get there, but
// a program that copies its documents with their actors does. A record where it
// happened is forked: each side goes on with its own branch and keeps what the other
// sends, parked, until the fork is repaired (RepairFork, doctor --repair).
//
// Of the two, the change with the lesser hash stays, everywhere; of several, the one
// with the least: they are forks two by two. The other one, with
// everything that builds on it, is withdrawn by each replica that holds it, and
// written anew under other actors (crdt.Transplant): the same operations at the same
// places. So nothing is lost, and what both sides did merges as if each had had an
// actor of its own: counters add up, texts interleave, rivals are a conflict. Setting
// the local values again on top of the other branch, which was considered, would hide
// that conflict, and count an increment twice if two replicas did so.
//
// What is written anew follows from the bytes of the branch alone. So several replicas
// may repair at the same time, each of them makes the same changes; and a replica that
// receives them knows by their actor that its own branch gives way, and follows by
// itself. Withdrawn rows stay in the log, marked, so that positions and the chain are
// what they were; they belong to no history and are not sent.
//
// What cannot be done: hashes that the branch had are gone from the record's history,
// so points in it that were named by them (tags, heads written down) are not found. A
// program that is not godwit does not withdraw changes: one that holds the branch has
// to start from a copy again. A set that was refused because too much is parked comes
// in with the next resend from the beginning only.
//
// # Compaction
//
// Compact replaces a record's stored changes by one document chunk, made by
// Automerge's core (internal/compactor). In the file the rows of the log stay without
// their data; Reader.Changes, ParsedChanges and Log give the same changes in the same
// order, so that nothing above the store knows. Measured (BenchmarkCompact, two cores):
//
//	                     10,000 changes of one record   automerge-paper, 259,778
//	changes, snapshot    1,732 KB, 110 KB               29.5 MB, 129 KB
//	file, vacuumed       2.84 MB, then 1.11 MB          54.5 MB, then 24.0 MB
//	read the history     245 ms, then 147 ms            1.40 s, then 0.31 s
//	cold sync of it      0.81 s, then 0.47 s            3.5 s, then 3.2 s
//	compact and vacuum   2.1 s                          5.7 s
//
// What remains of the file is positions, hashes and chain, 92 bytes a change: cursors
// of peers point into them.
//
// Deleting these rows behind all known peers was considered. Nothing else says which
// changes are one set, so that a new peer would see half a transaction for a while; when
// and from whom a change came; and where the answer to a Need goes on. And each new peer
// would be reconciled from nothing, where it is streamed to now. Dropping what follows from
// other columns keeps all that: the chain but at each 1,024th position, the hash of what a
// snapshot covers, the name of a set of one change. Of 100,000 records with 5 changes each,
// the log's pages then take 46 bytes a change, 29 for sets of one, where they take 94 without
// data and 216 with it (2026-11-21, dbstat, vacuumed). What is in the way is Purge, which
// removes names that the chain is computed from. It is still to be done.
//
// Options.CompactEvery is off by default: Automerge's core takes up to a GiB for a long
// history, which an application should have chosen.
//
// # Encryption
//
// Content is sealed where it is stored, in package persist, which says how, what stays
// visible and what it is good for; nothing above it knows. It is at rest only: links
// have TLS, peers a key of their own, and bundles and exports are plain. A single-field
// update takes 1.06 to 1.09 times as long as without (NORMAL; at FULL the disk takes
// more than that) by BenchmarkUpdateEncrypted, on two cores with other work.
//
// # Forgetting
//
// Forget empties the record's rows of the log and withdraws them, as the repair of a fork
// does: positions and chain stay what peers know, and nothing of them is sent, by any
// path. The record's row keeps heads and clock. So the stub is equal for whoever holds
// what was forgotten, and comparing costs nothing. What comes for it all the same is
// dropped, the rest of its set is taken, and the sender is told: that is no receipt, and
// keeps nothing else back. The sender keeps it in its file, among the refusals, under the
// code "forgotten", until reconciliation has found the record equal. A stub that differs
// is reported by both sides as forgotten, by whom, and neither asked for nor pushed. A
// link with conditions on fields is the exception: a stub has no value that could meet
// one, so what the peer has is sent once in each run, and dropped.
//
// Fetch marks the stub as wanted, empties its heads and clock, and has the rest done by
// reconciliation: changes come in behind as if they were new. Until the clock of back then
// is covered the record is not edited here: this replica's own latest changes may be among
// those that are missing, and their sequence numbers must not be given out again.
//
// That a peer once acknowledged a change does not say that it has it: it may have
// forgotten it since, or the link's selector left it out. Two replicas that rely on one
// another's acknowledgements, or on a comparison, can forget at the same time. So Forget
// compares, and relies on keepers only, which forget nothing; hubs of "godwit serve" are.
// A keeper says so as long as it holds no stub, which would be equal. It is a promise of
// whoever opens the file. What others have forgotten since is not in a backup of a keeper's
// that is put back: it is lost then, which no protocol can mend.
//
// A record with forks, or one that parked sets wait for, is kept.
//
// # Purging
//
// Purge is erasure, for all replicas. What says so is a marker, a record of _godwit, which
// goes wherever anything goes and only admins bring; its ID is the SHA-256 of the record's
// name, so it tells no name to who may not read it. (A name that can be guessed can be
// looked for.) A marker has no contents that matter, and to edit or delete it changes nothing:
// two replicas that disagreed on whether a record is purged would never agree on anything
// else of it.
//
// A replica that logs a marker drops the record in the same transaction, whatever came
// first: rows of the log are emptied and withdrawn, as Forget does, those that a fork had
// withdrawn before too; sets that wait are taken anew without it; what is noted of it among
// refusals, quarantine and forks is deleted; so are its tags, which name it, and whose ID is
// the beginning of the same hash. Its row stays, without heads, so it is in no digest. The
// names that were purged are in a table of their own, so that what comes for one is found by
// one lookup, and none if there are none. The hash is no key of any other table: for a
// marker that comes from elsewhere the names of all records are hashed, once for a batch.
// With an index on the hash each new record would pay for that.
//
// What comes for a purged record is dropped, the rest of its set is taken, and the sender is
// told under the code "purged". Unlike "forgotten" that is not kept as a refusal: the change
// counts as there, so that the sender's outbox ends, also if it only pushes and never learns
// of the marker. Reconciliation answers for such a record that no changes of it are taken,
// and asks for none. A packed frame may name what a change builds on by a few bytes of its
// hash; of a purged record those are not found, and the frame is sent again without.
//
// Names are left in the rows of what was held until Compact with Vacuum: until then those
// who watch learn of which record left, and Vacuum is needed anyway to be rid of free pages.
// It also has full texts merged, which keep words of deleted entries. SQLite's secure_delete
// was found wanting for encryption (persist), and is so here. The chain of the log is made
// with names, so Check cannot follow it over rows whose name is gone.
//
// Who is no admin and purges has purged its own file only: a replica does not know what a hub
// that it is not connected to would let it write. It is told as any refused write is. To
// Abandon the marker lifts the purge in the same transaction: the name leaves the table, the
// record's row without heads is like that of one that never was, and the comparison that
// sessions begin with from then on brings back what others have. All incarnations of the file
// are retired with that, also those of other processes: the record's clock is gone, so nobody
// knows any more which of them wrote it, and its sequence numbers must not be given out again.
// A row that has lost its name cannot be told to be the record's, and stays purged; the record
// gets another one.
//
// What it costs a replica of 1,000,000 records to find what a marker is of, on 2026-11-21, on
// two cores with a load of 37, so that these are bounds from far above (go test ./replica -run
// '^$' -bench BenchmarkPurge -purge.records 1000000 -benchtime 3x): a sync that brings one
// marker took 12 s, one that brings 1,000 of them 5.8 s.
//
// # Rebuilding views
//
// A new policy holds for readers at once: what the file stores under an older one is
// computed when it is read. rebuild.go replaces it in the background, some records a
// transaction. What changes its look is noted in the file (persist.ViewChange), which
// watchers of all processes read like the log; that costs a row for each such record,
// the last 100,000 are kept.
//
// # Repair and explanations
//
// Repair goes by what Check finds, so it writes nothing to a file that is sound, and only
// what follows from changes: heads, clock, value and place in the log of a record. What is
// read from the log for others is held against its hash (persist.LogRow.Damaged), so damage
// is not sent, by any path. The set it is in is left out whole, the change is noted
// like one that the peer refused, and the peer is told that the sides may differ.
//
// RepairFrom does what forgetting and fetching do, for a part of a record: rows whose bytes
// are not those of their hash are withdrawn and emptied, the record is marked as wanted,
// and reconciliation brings what its clock lacks. What builds on the damaged changes cannot
// stand in the log before them; it is parked, one set for all that wait for the same, and
// integrates by itself. Filling the rows in where they are was considered: positions would
// stay, but it takes a request and a way into the file of its own, and a change that nobody
// has would keep the record unreadable for ever. A marked record can be written by
// actors of which nothing is missing: their sequence numbers are not given out twice.
//
// Salvage (package persist) is for a file whose pages, or log, do not hold together. It
// gives a file of the same kind as damage to single changes does, so RepairFrom goes on with
// it. Its log is a new one, with a new epoch; peers reconcile. Change sets that lack a
// member are sets of the others from then on.
//
// TestDamage damages a file by a bit or a page, its WAL, a snapshot, or a bundle, at random:
// found or without effect, the rest readable, healed by a peer and then verified equal. A
// change that no peer has is lost only with its own bytes, or with the length of its row.
// -damage N -damage.seed S makes more of them, and replays one.
//
// Explain writes nothing down for its own sake. A record that was refused along with
// another's change is found by the change set. What a link carries is known to the process
// that holds the link alone: cursors pass over what was left out, so Explain takes the
// link's options.
//
// # A record without fields
//
// Automerge documents cannot be deleted. Deleting a record deletes all its
// root fields, and a record without a visible root field is no record. So a
// field that was edited while another replica deleted the record survives the
// merge, which is what every Automerge shows; the policies update-wins and
// delete-wins show the whole record, or none.
package replica
