// Package sim simulates clusters of replicas by seed. It has tests only.
//
//	go test ./replica/internal/sim                                    the usual seeds
//	go test ./replica/internal/sim -sim.seeds=5000 -sim.first=1000    more of them
//	go test ./replica/internal/sim -sim.seed=17                       one again
//	go test ./replica/internal/sim -sim.replay 17/60:3,9-12           some of its steps
//	go test ./replica/internal/sim -sim.loose                         without an order of frames
//
// # A run
//
// A seed says everything that the schedule decides: how many nodes there are, 3 to 7 and
// hubs, 8 with their clones; who exchanges changes with whom (ring, star, two hubs, line, tree, mesh); how
// much they keep in memory and how often they reconcile; 60 steps, one of which is a
// crash; how they converge in the end. Steps are updates of all kinds (fields, nested maps,
// lists, text splices, counters, deletions; of one record or several; one after the other,
// several at once, failing ones), connections and one-shot syncs, weather (frames lost,
// repeated, overtaken, late), partitions, cut connections, crashes, restarts, backups and
// their restoring, clones of a file that go on beside it, clocks put wrong by up to ten years
// either way, changed policies of a replica and of the space, indexes, rights taken and
// given back, exchanges of a part, records forgotten and fetched back, compaction by
// another process, sets of a foreign author that are carried to replicas in any order, and
// changes forged in a replica's own name.
//
// It runs in a bubble of testing/synctest, where time passes only when everything waits.
// The files are real, in memory where the system has a folder for it: what is tested is
// order, not disks.
//
// A crash is the copy of the database and its WAL at a moment, as a kill would leave them:
// between two updates, or on the writer's goroutine within a call of the store
// (persist.Hooks), before a statement of a transaction or after its commit. From just
// before it on no frame of the old replica gets out, its watchers hear nothing, and what it
// does to its own files is not looked at. An update that was not acknowledged by then may
// be there or not.
//
// # Again
//
// A seed is the same run each time, frame by frame: the names of replicas and actors are
// drawn from it (persist.Hooks), no two frames arrive at the same moment, so that all that
// one sets off is over before the next, and updates at once queue up in a known order.
// TestReplay holds two runs against each other. What is left to Go's scheduler is the order
// of goroutines of one node at one moment; it shows in about one seed of forty, and in one of three on
// a machine with ten times the work it can do, as two acknowledgements where there was one,
// which shifts what comes after by microseconds. So a
// failure comes again with its seed, but for a rare one that takes a few tries (-count).
//
// That order hides what only real concurrency brings about. With -sim.loose, which is the
// default of the race detector, frames arrive as soon as they may and steps begin while
// others are under way; then a seed is another run each time.
//
// A step draws from a source of its own, so that others can be left out. The first failure of
// a test run is shortened so (delta debugging) and printed with what -sim.replay takes. A
// file that begins with that line will do too.
//
// # What must hold
//
// At every observed moment: each watcher was told of every change of the log,
// once and in order; a snapshot shows all or nothing of a set; nothing is in
// quarantine but what was forged; no connection has ended for good.
//
// In the end, all disturbances over: the replicas converge, by connections or by
// rounds of syncs, the last of which moves nothing. Heads and values of all
// records are the same bytes everywhere under the same policy. Check finds
// nothing, in half of the files. Every log holds every change that was ever acknowledged to its
// writer, and none of an update that failed. Nothing waits for a dependency.
// What watchers of all lives of a file were told still stands in its log. The times of a
// replica's changes never go back, and are never ahead of what its own clock showed by more
// than peers may drag it.
//
// A restored backup may lose what only its replica held; the model asks the
// other logs what that is. All else must come back.
//
// # Does it find anything
//
// Behind the build tag plantedbugs the replica has bugs that can be turned on
// (replica/planted.go). Seeds needed to find each, counted from the first; the
// seed that finds it is clean without it
// (2026-11-21; go test -tags plantedbugs -run TestPlantedBugs -v ./replica/internal/sim):
//
//	drop a change                          1
//	move the cursor without the data       1
//	take what was never sent for held      1
//	forget a parked set                    1
//	resend from too far                   16
//	ignore a resend                        7
//	believe a cursor without its chain    13
//	apply half a set                       1
//	keep what was rolled back              3
//	leave a stored value behind            2
//	pick a wrong winner                    1
//	lose a wake-up                         2
//	reuse an actor                         5
//	pass over a range                     11
//	leave a print behind                   7
//	forget what is missing                 1
//	let the clock go back                  8
//	let a peer drag the clock              5
//	forget what others need                1
//	take a forged actor                    5
//	skip an ack                            1
//	acknowledge before commit              1
//	put a watcher's cursor one too far     1
//	leave a value under an old policy      9
//	undo a purge                           4
//
// Some are found a few seeds sooner or later with other steps, the rarest within 28 so far.
// Reconciliation heals what
// several of them do, so they are found by what is to be seen until then (a set shown in
// part), by one-shot syncs, and by restored replicas that write on before anyone has
// noticed. That takes 30 s of CPU. TestShrinkPlanted shortens what finds the clock that goes
// back to three steps: an update, a clock put back, another update.
//
// A resend that began one change too late was found by seed 30 as long as each frame with
// two branches of a record asked for one; since none does, by seed 113. It begins three too
// late now.
//
// # Cost
//
// A schedule takes 150 to 180 ms of CPU (2026-11-21, -sim.seeds=100, two shared cores), where
// the three replicas of before took 220: files are copies of prepared ones, crashes and
// checks open no second store, nobody polls for other processes, half of the files are
// walked through. What is left is what replicas do, some 2 ms a step, and in no one place:
// statements 20%, reading for watchers 9%, opening files 8%, Check 5%. SQLite's locks in
// memory (unix-excl) gained nothing. The usual run is 320 schedules, with 222 restored or
// cloned replicas and 560 jumps of clocks, and fails with less than 106 and 500.
//
// # Campaigns
//
// On 2026-11-21, -sim.seeds=3000 -sim.first=20001, ordered, and some 1,200 from 1, 6001,
// 10001 and 30001, and 1,300 from 40001, which also purge, found
//
//   - a change set that was torn apart in the log, since it wrote a record anew that was hidden,
//     behind another one (TestAHiddenRecordIsMadeAgainWithinASet; seeds 6001, 6002);
//   - a one-shot sync between a replica that has forgotten a record and one that was put back,
//     which says that the two are not equal, since a set waits for what it misses, and is not
//     made equal by reconciliation in the same run; the next sync does (seed 22695 of the
//     steps before purging, 40656; not repaired);
//   - a record that never came back where the marker of its purge was refused and abandoned, and
//     one-shot syncs that did not come to know that the sides are equal, for the same reason
//     (TestARecordComesBackWhenItsRefusedPurgeIsAbandoned; -sim.replay
//     3062/60:0,30,35,37,41 and 41039/60:1,24,26,39,41).
//
// All else of these was clean: nothing acknowledged was missing, and every copy came to be
// equal.
//
// Before, on 2026-11-21, go test ./replica/internal/sim -sim.seeds=300 -sim.first=N, seeds 1 to 2700
// and 3000 to 3299, found these, which have tests of their own now:
//
//   - A packed frame with two branches of a record could not be unpacked
//     (TestPackedBranchesOfOneFrame), and frames of reconciliation were packed the same way
//     again, so that the peer seemed not to answer or records to differ for no reason
//     (TestPackedLooseFramesAgain; seeds 2037, 3257).
//   - Pushes of reconciliation that bad weather took looked like refusals
//     (TestChangeSetsOfReconciliationThatGetLost; seed 600).
//   - A dialler was not told that its peer's comparison came to no end, which the test of the
//     seed before showed (TestTheDiallerIsToldThatThePeersRunCameToNoEnd).
//
// Seeds 285, 3000 and 3162, which had failed before with records that stay different,
// passed 25 times each. With the corrections seeds 1 to 2700 are clean, 1201 to 2700 without
// the last one, which is about what is said alone.
//
// Real ones that it found while it was written, each with a test of its own in
// replica/sync_test.go: a repeated ack in the handshake ended a Connection for
// good; a peer restored from a backup did not get back what it had lost, if the
// first session afterwards broke off, or if two sessions with it had run at
// once before.
package sim
