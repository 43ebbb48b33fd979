// Package crdt reads, checks and writes Automerge histories in Go: changes, the
// history of a record that they make up, the views of it, and the nouns that the
// rest of godwit speaks in: actors, hashes, clocks, heads, cursors.
//
// It is not an Automerge engine with a C library below, nor does it store or send
// anything. It imports no other package of godwit.
//
// # Changes
//
// ParseChange takes bytes from anywhere and returns a Change or says why not.
// A Change is immutable and its raw bytes are what is stored, hashed and sent.
//
// Decisions on the encoding:
//
//   - A change is taken only in the one encoding that Automerge's own encoder
//     writes. Automerge's compacted files hold no hashes: whoever loads one encodes
//     the changes again to get them. A change in any other encoding would make a
//     record that saves and never loads again, in every implementation.
//   - The readers check this while they decode: LEB128 is minimal, a value that
//     follows an equal one is in its run, no column is empty. Encoding again and
//     comparing says the same and costs as much as parsing; the tests do it, for
//     whatever the fuzzer gets accepted.
//   - What no Automerge writes is refused, even where the core would take it: tables
//     (action 6), unknown columns, deflated columns inside a change, actors without
//     bytes, marks without a name, increments by anything but an int, inserts with
//     predecessors, references to later operations.
//   - Columns of unknown kinds are refused rather than kept, though here they could
//     be: no other implementation carries them. A change with one more column of
//     numbers is taken by the core and by JavaScript 3.5, and each then saves a
//     document that neither loads ("mismatching heads"); JavaScript does not even
//     return the change's own bytes. No Automerge up to 3.5 writes any.
//   - Extra bytes survive, but for one form: 1, a length, and that many bytes name the
//     actor's author in newer versions, and JavaScript 3.5 panics if they stand in
//     another than the actor's first change.
//   - Changes are kept plain (type 1). A deflated one (type 2) is inflated on the way
//     in, up to MaxChangeSize; the hash is over the plain form. Storage and transport
//     compress many changes at a time, which is better.
//   - Sizes are checked before anything is allocated for them. What a change costs is
//     bounded by MaxOps (about 120 bytes of memory each), not by its length: deleting
//     a text of 100,000 characters takes a dozen bytes. Whoever parses many changes
//     before using them keeps a budget of operations.
//   - Strings, keys and dependencies of a parsed change alias its raw bytes, which
//     never change. So a change of one field costs few allocations, and keeping a
//     string keeps its change.
//
// # Documents
//
// ParseDocument reads what Automerge's save writes, ParseChunks a file of such
// documents and changes in any number and order, Load the history in it.
//
//   - A document holds no hashes. Every change is made again, checked as ParseChange
//     checks it, encoded and hashed; the heads have to come out, and with them, through
//     the dependencies, every other change's hash.
//   - So it does not matter in what encoding or order a document says what it says,
//     and its columns of unknown kinds are skipped: if a change had had such columns,
//     the heads would not come out. Bundles (type 3) are refused by name.
//   - Nothing here writes documents. Saving is concatenating the changes, which every
//     Automerge loads; only a compactor needs more, and the core is one.
//   - Operations are placed by counting, never by searching lists: a change's
//     operations are numbered without gaps, so an operation's ID leads to its change
//     and its place in it. All is linear but the sorts of predecessors and heads.
//   - Bounds: MaxDocumentOps operations and MaxDocumentChanges changes of all chunks
//     together, columns that inflate to at most 48 MiB more than the chunk, and changes
//     that encode to at most 16 MiB and 512 bytes a change more than the columns.
//     What columns announce is counted, and held against each other, before anything
//     is allocated; a large column is inflated once without keeping it before it is
//     kept. An input that is valid takes what its changes take, however small it was:
//     about 250 bytes an operation and 450 a change.
//   - The changes of a document share memory: their operations are one slab. Keeping
//     one of them keeps all.
//
// Measured as below: a document of 50,000 edits of one text is loaded and shown 3.4
// to 5 times faster than by the core; the automerge-paper trace, a change an edit, 5.3
// to 11 times, in 172 MB of resident memory where the core reaches 555 MB
// (BenchmarkDocument, BenchmarkDocumentTrace, BenchmarkDocumentMemory). Of it, making
// and hashing the changes is about half.
//
// Held against JavaScript 3.5 (testdata/js): 44 documents of 8,906 changes give the
// same value, heads and conflicts. Of 140,000 mutants of changes and of documents
// 22,392 were accepted; it loads them all, shows the same, saves them and loads them
// again. Before the rule on authors above it refused 3 of 22,608. No document took a
// second, or 64 MB of memory more than its size.
//
// # JSON
//
// ParseJSON and AppendJSON map JSON to the types of Automerge and back, so that
// writing what was read changes nothing. Integers and floats are told apart by the
// fraction or exponent; what JSON has no type for has a form, an object with one
// key such as {"$time": "2026-01-02T03:04:05Z"}. A map of a record that looks like a
// form is written inside {"$map": ..}. Times are cut to milliseconds when read.
//
// # Histories
//
// A History holds what a record's changes make of it, and every candidate where
// they disagree. History.Add takes in a parsed change; Begin, the methods of Edit
// and Commit author one; both go through the same apply. The smallest use:
//
//	h := crdt.NewHistory()
//	e := h.Begin(actor, nowMS, nil)
//	err := e.Put(crdt.Path{{Key: "name"}}, "Ada", crdt.Merge)
//	change, err := e.Commit("")  // change.Raw() is to be stored and sent
//	json, err := h.AppendJSON(nil, nil)
//
// What Add demands of a change, beyond what ParseChange does:
//
//   - Its dependencies are held (else it is parked), its sequence number is the next
//     of its actor (else it is a fork, or invalid), and it builds, directly or not, on
//     that actor's previous change.
//   - Its start op is beyond every operation it builds on, and without operations
//     exactly one beyond. Gaps are parked, not refused, when they reach beyond the
//     record's last operation plus one: what fills them may be on its way, and
//     JavaScript pays for each missing operation.
//   - Every object, element and predecessor is in its causal past, or before it in the
//     change; objects are objects of the kind that is edited; elements belong to the
//     object; predecessors wrote to the same key or element and are no deletions or
//     marks. An increment names a counter among its predecessors (others, which the
//     core lets it name in a conflict, it overwrites); a deletion's first predecessor
//     is no increment, since the core makes a deletion that it loads again from that.
//     Marks cannot be edited, and end after they begin.
//   - Objects nest less than MaxDepth deep: whatever walks a record may recurse.
//   - The record's branches stay below maxClocks.
//
// Add checks first and changes nothing until all is checked. The one rule that
// needs the outcome, the order of a mark's ends, is decided on a scratch sequence
// of the change's own elements.
//
// Decisions:
//
//   - Operations stay where they were parsed: an operation ID in memory is a counter
//     and the index of its change, 8 bytes, and leads to the operation in two steps,
//     and to the change's time and author for views. Slots hold the IDs of what is
//     visible; a second candidate costs an allocation, the first does not, and beyond 32
//     they are a heap: a million writes to one key, which take a few kilobytes, stay
//     a matter of seconds.
//   - Only branches have clocks. A change made on all heads builds on all changes that
//     were there, which an index says. Others have a persistent radix tree from actor
//     to sequence number that shares what it has in common with its dependencies'.
//     So checking a reference is a lookup, never a walk, and a chain of 20,000 actors
//     takes no clock at all. Crosswise merges of thousands of branches would still
//     take memory by the square; maxClocks ends that, and edits on all heads remain
//     possible.
//   - Lists and texts are a B-tree of elements that sums widths (index lookups) and
//     the least ID (the insert rule skips greater ones), so no order of IDs is
//     quadratic: 200,000 inserts in the worst order take a twentieth of a second. Each
//     element keeps its width; asking its operation took three cache misses and made
//     random edits slow down as a text grew.
//   - Maps are sorted slices up to 64 keys, then indexed, with the order computed when
//     it is asked for. A record of five fields costs no map.
//   - Edits apply at once instead of being collected, so that each is compared with
//     what the one before it left. The price: an Edit that fails half-way leaves a
//     history to be dropped and read again. Failing is rare, copying would not be.
//   - Resolving deletes the losers and leaves the winner alone: its content, its
//     counters and what others edit in it at the same time stay.
//   - Put leaves a conflict that shows what is put already, since putting what get
//     printed must write nothing. It settles one that it changes, but for merged maps,
//     whose rivals may hold what the caller has not seen.
//   - A number put onto a counter is an increment by the difference, a string put onto
//     a text is splices, so that concurrent edits of both kinds add up.
//   - Lists are aligned by what their elements print (Myers, at most 400 insertions and
//     deletions, else one replacement), then changed elements are edited in place.
//   - Characters of a text are in no policy: positions must mean the same in all views.
//
// Measured on 2 cores that were shared (Go 1.26; run the benchmarks for today's
// figures, the core is automerge-go in the same run): parse and add a change of one
// field 1.7-2.0 us in 5 allocations, 4.5-5.2 times faster than the core, most of it
// parsing; author one field 1.6 us, 6-8 times faster; 50,000 random edits of one text
// 2.7-3.5 us each, 3.4-5 times faster, the last tenth as fast as the first; adding
// concurrent changes to 10,000 as fast as to 10. The automerge-paper trace, 259,778
// changes: 2.5-3 us each, 4 times faster, 160 MB live and 240 MB at the peak, where
// the core peaks at 1,016 MB; loading the raw changes 0.5-0.6 s, 3.3-4.6 times faster
// than the core loads its document.
//
// Mutants: 340,000 alterations of bytes and fields, offered to the history that the
// original was made on; 66,659 were taken, and the core loaded, showed and saved all
// of them alike. JavaScript's Automerge 3.5 took 3,914 of 3,914 with equal heads.
//
// # Views
//
// A View is a Policy made ready: a pure function from a history to a value. Where a
// slot has one candidate it shows that and asks no further. Decisions:
//
//   - A deletion is a candidate if it left its slot empty, was made without seeing
//     a value that is visible there, and is not seen by it. So a change that settles
//     a conflict by deleting the losers is none, and any later write revives.
//   - An object or counter that was overwritten or deleted is a hidden candidate if
//     there is an edit in it, at any depth, or an increment, which knows of none of
//     the operations that overwrote it, and is known to none of them and to no later
//     write to the slot; increments of rivals are no such writes. Its author, time,
//     change and message are those of the latest such edit, since that is what would
//     be lost; its operation ID, by which ties are broken and Resolve finds it, is its
//     own. Automerge does not show it, and so the default view does not.
//   - Which those are is collected when a view or Conflicts asks, from changes
//     since the first branch only: for each object that was edited, the latest edits;
//     for each that was overwritten, the earliest that did so; for its slot the latest
//     writes. Add does nothing for it, and a history that never branched pays nothing.
//     TestHiddenByDefinition and TestHiddenOfAnything hold it against the definition.
//   - lww, fww, local, remote, prefer and functions heed deletions and hidden
//     candidates; those that compare or combine values leave both out: to merge a map
//     with the one that took its place brings back what was thrown away, and a sum
//     would count twice.
//   - update-wins shows a hidden candidate where nothing else is visible: it was edited
//     while it was deleted. Where a value took its place, both are updates, and it shows
//     automerge's choice. delete-wins never shows one.
//   - What was overwritten cannot become visible again, so an edit in a hidden
//     candidate, or Resolve on it, writes it anew as the view shows it, with all that
//     is in it. What others edit in the old one meanwhile is a conflict again.
//     Conflicts within it are not listed before that.
//   - max, min, union, concat, merge, sum and functions may show what no candidate
//     is. They fall back to automerge's choice where a candidate is of another kind.
//     They order by operation ID, the least first, so that the merge order does not
//     matter. Each value is computed once: conflicts nested in conflicts cost what
//     they hold, not two to the power of their depth.
//   - In fww, of equal times the least operation ID wins; in all others the greatest.
//   - Patterns hold for what is below them too. The longest counts, of equally long
//     ones that whose first * comes later, of those the first.
//   - whole-record-lww, update-wins and delete-wins are about heads, not slots: they
//     show the record as of some of its heads (the latest; those before a deletion;
//     none), so they can only be the default, and matter only while there are several.
//     A head deletes the record if nothing is visible as of it. Patterns resolve what
//     conflicts there are in what is left. What they hide is a conflict of the record
//     itself, at the empty path, with a candidate a head. update-wins is about slots
//     too: see above.
//   - An edit makes a record or slot what the view showed before it changes it, on
//     the first candidate of the right kind, and writes nothing if nothing changes. So
//     what is edited is what was seen, and whoever has the edit sees the same under
//     every view.
//   - A rival deletion of something that is kept is settled by deleting once more what
//     it deleted, and a hidden rival by deleting it once more: the object that is kept
//     keeps its identity. No other Automerge writes this; the
//     core and JavaScript 3.5 show the same of it in all orders (TestSettledAsJavaScript).
//   - Differences, Revert and Blame go by operations where a view shows candidates.
//     Under a view that may show more, Diff and Revert compare values (a list or text
//     that differs counts as a whole in Revert), and Blame names the greatest candidate.
//   - A function that is not registered is no error but a Rendering that is Lacking:
//     who stores it knows that somebody else has to compute it.
//
// A record of 1,000 conflicts of three renders and is counted in 0.3 ms under views
// that pick, 1.3 ms under those that combine and 3 ms under whole-record-lww
// (BenchmarkConflicts).
//
// # Lists and texts for editors
//
// AnchorAt and Position are cursors that survive the edits of others; Convert turns
// positions into other units; Marks and Spans read rich text, Edit.Mark and Unmark
// write it; Edit.Move moves an element of a list.
//
//   - An anchor is an element's ID and a side, and nothing that has to be kept: the
//     sequence finds an element and sums the widths before it in 1 us, deleted or
//     not. Its text is what Automerge's getCursor writes. Automerge's other kind, which
//     moves back through what was typed before the deleted character, is refused: the
//     other side of an anchor does what that is wanted for.
//   - Code units and bytes are summed in the nodes of the tree when somebody asks, and
//     forgotten on the path of an edit. Elements hold neither, edits cost as before,
//     and in a text of 200,000 characters a conversion takes 2 us, 45 us after an edit.
//   - Marks are elements that take no place. What is typed where they begin and end
//     goes where their expand flags say, by Automerge's rule (its insert query, read at
//     commit 47908d6): this is decided when typing, not when reading. testdata/js has 40
//     texts whose marks, spans and cursors are JavaScript's; of 60 that are made here
//     JavaScript shows the same (check_marks.mjs).
//   - Missing: a move of its own. Automerge has no such operation, so two moves of one
//     element at the same time leave two copies, and edits in it from elsewhere do not
//     come along but are a conflict (see Edit.Move). Also blocks are read and kept, but no method makes
//     one, and marks on lists, which no Automerge writes, are carried through unread.
//
// # Time
//
// At is the record as of heads, HeadsAt the heads as of a time; Diff, Blame, Paths
// say what changed, by whom and where; Edit.Revert, Undo and Redo take it back.
//
//   - A past state is the history of a subset of changes, made by adding them again.
//     Nothing is kept for it, and whatever a History answers it answers of the past.
//   - Differences go by identity: two states of an object are lined up by the
//     operations that made its elements, in one pass, so a text of repeated
//     characters is no riddle. An object in place of another is one difference.
//   - Each difference's path holds in what those before it have left; containers come
//     before what is in them, so all paths and positions are those of the later value
//     and Patch needs nothing else.
//   - AddDiff looks at the slots that a change is about to touch, adds it and looks
//     again: 2-3 us for a field, 9-13 us for an edit in a text of 100,000 characters. In
//     a view that shows a slot by more than its candidates it is a Diff.
//   - Revert lines up three states: after the change, before it, and now, in what the
//     view shows, and restores where now looks as after. It goes by values where
//     identity is lost: what was deleted and brought back is a new object, and the
//     undo of an edit in the old one is found in the new by what it looks like. Going
//     by operations alone, an undo of a deletion would end all undoing before it.
//   - A deleted element is revived by writing to it, not inserted anew. The core and
//     JavaScript 3.5 take this and show the same (TestSettledAsJavaScript), it keeps its
//     place and its cursors, and two who undo the same deletion get the character once.
//   - The message of an undo is "undo" and the hash, of a redo likewise; what can be
//     undone is derived from these. A replica's changes are one stack, whatever their
//     incarnation. An undo with nothing left to restore is a change without operations,
//     or the next one would try the same again.
//   - Blame scans the changes for increments only if it meets a counter.
//
// # Hostile bytes
//
// TestDecodersTakeAnything feeds mutants to every decoder in turn. On 2026-11-21,
// on one of two busy cores:
//
//	GODWIT_MUTANTS=10000000 GODWIT_SEED=7 go test ./crdt -run TestDecodersTakeAnything -v -timeout 0
//
//	decoder          mutants    accepted
//	change           1428600    245023
//	deflated change  1428600    183969
//	document         1428600    203180
//	policy           1428550    245055
//	cursor           1428550    82550
//	path             1428550    248215
//	JSON             1428550    122938
//
// No panic; the slowest batch of 50 took 0.47 s, and none allocated more than
// 10.4 MB.
package crdt
