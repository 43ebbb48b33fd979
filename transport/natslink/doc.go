// Package natslink carries frames over NATS (nats.io): sessions between the members
// of a space, which find each other, and a JetStream stream per space that hands
// changes to all of them at once.
//
//	node, err := natslink.New("nats://localhost:4222", &natslink.Options{ID: r.ID().String()})
//	fleet, err := node.Fleet("crew")
//	for _, link := range fleet.Links() {
//		r.Connect(link)
//	}
//	node.Serve(ctx, &natslink.ServeOptions{Space: "crew", Accept: session})
//
// It knows nothing of replicas. Who may send to and hear a subject is the NATS
// server's to say: accounts, users, NKeys, credentials, TLS and leaf nodes are its
// configuration, and nats.go's options (Options.NATS). All subjects of a space are
// below godwit.v1.SPACE. Whoever may use these is trusted with the whole space;
// finer rights need a hub, which speaks HTTP with those it trusts less.
//
// # Sessions
//
// A session is a transport.Conn between two subjects, one of each side, over core
// NATS, which delivers at most once. Messages are numbered, and a gap, in what
// follows or in what a ping says was sent, ends the session on both sides: it is
// dialled again and goes on from the cursors. So a frame may be lost, but never
// within a Conn. The connection of either client to its server breaking ends it too.
//
// A frame larger than what the servers of both sides take (and 256 KiB) goes in
// pieces. Either side may send 2 MiB that the other has not consumed; then it waits
// for credit, so a slow side costs its peer no more than that, and the server never
// has a reason to call it a slow consumer. A side that is not heard for a heartbeat is
// sent a ping with a subject for the answer: if nobody listens any more, the server
// itself says so at once. Three heartbeats of silence end the session.
//
// Members answer on godwit.v1.SPACE.who and are dialled on a subject of their own.
// Hubs subscribe as one queue group to another, of all spaces, and NATS hands each
// wish for a session to one of them. Dial of the link that Peer returns takes a hub if
// there is one, else any member.
//
// In a fleet without hubs, each member dials the next one by ID, and the last dials
// nobody: a chain. It stays connected while members come and go, and no change crosses
// it twice. Hubs among themselves do the same. (A ring would have two members exchange
// everything in two sessions; links to random members would make each meet all others
// for the first time, which is expensive.)
//
// # The stream
//
// JetStream acknowledges before it writes to disk. It is a fast hint bus: what it lost
// is found by sessions between members. A message of the stream godwit-v1-SPACE holds
// the change sets that waited when it was made: one set, whose ID it is named by, when
// updates are made now and then, and 64 on average when many are behind each other, since
// a message costs as much as the rest of a set's way. Its name is then a digest of the
// sets' IDs. The server drops what comes twice within its window; and so that it can when
// a hub publishes what somebody else does as well, the sets' IDs say where a message
// ends: the same sets in the same order make the same messages wherever one begins. What
// is larger than a message takes several, and members put them together
// again; a position is only moved past the first of them when the last has come, or
// when a minute of the stream's time, 18 MiB or 512 such sets have passed it.
//
// The stream is one more peer, that says hello as a carrier: package replica has no
// second path. The link answers the session itself. Positions of the peer's log are
// the stream's sequence numbers, the epoch is when it was created, the chain is made of
// number, time and id of that one message. So a stream that was deleted has another
// epoch, and one that was set back does not know the position; either is read from
// its beginning. Numbers that are missing, at the beginning or in the middle, were
// lost by the stream: this is logged, and the fleet asks a peer. A carrier's ack is no
// receipt. It remembers nothing of a replica: from where on to publish is kept in the
// replica's own file.
//
// Only who wrote a set publishes it, and hubs, which publish all that did not come from
// the stream. (Foreign changes that were imported are thus carried by sessions, or by
// hubs.) A message that is none of ours is passed over, counted (Node.Foreign) and
// logged; what is a set and holds no valid changes is the replica's to refuse.
//
// While the stream is up, a fleet's sessions with peers end when both sides have
// everything, and begin anew at once when the stream is down or has lost something,
// else every minute. While it is down, or where there is no JetStream, they stay.
//
// A frame of sets from the stream is handed on at once when nothing is behind it.
// While more is under way it waits for 64 KiB or 5 ms, since a commit costs as much for
// one set as for many.
//
// Notes about presence go over the same connection on godwit.v1.SPACE.presence, which no
// stream keeps: who joins hears of those who are there when they say so again, within
// half a minute. One that is lost is made good the same way.
//
// A new member takes what the stream has and the rest from a peer. There is no
// snapshot in the Object Store: it would carry what a session carries anyway, and would
// have to be kept up to date by somebody.
//
// # Measured
//
// go test -run X -bench . -benchtime 5x -count 6 ./transport/natslink, 2026-11-21, 2 cores
// that were busy with other work (a load of 10 to 15), so only the ratios mean something:
//
//	Replicate  0.58 to 0.92 of bare JetStream publish-and-consume, the slower limit (bare
//	           SQLite is 3 to 9 times as fast as that): 20 us of processor time a change
//	           against 17. With a message for each set it was 0.31 to 0.45, and 42 us.
//	Live       1.4 to 2.1 times a message one way and two raw commits, 1.9 in the middle.
//	           Of 1.7 ms, 0.42 are the writer's commit and 0.52 the reader's (a raw one:
//	           0.43), 0.1 until the session has read it, 0.3 the stream (a bare one: 0.12),
//	           0.2 until the watcher is told
//
// To be delivered what one has published oneself costs nothing that can be seen: 40 us of
// processor time a change with and without it, when each set was a message.
package natslink
