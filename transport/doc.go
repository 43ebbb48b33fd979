// Package transport holds what every path between two replicas has in common:
// the frames they exchange, how frames become bytes, and the two interfaces a
// carrier implements. A [Link] dials, a [Conn] sends and receives frames. What
// is said over a Conn, and when, is the session's business (package replica);
// how the bytes travel is the carrier's (memlink, httplink, natslink).
//
//	c, err := link.Dial(ctx)
//	err = c.Send(ctx, &transport.Hello{Protocol: transport.ProtocolVersion, Space: "crew"})
//	f, err := c.Recv(ctx)
//
// # Decisions
//
// A message is one byte for the kind, one for the compression, and a body. The
// body is CBOR (RFC 8949) in its core deterministic encoding: a map with small
// integer keys, of which unknown ones are ignored, so that a field can be added
// without a new protocol version. What may not be ignored is named in
// Hello.Requires.
//
// A Changes frame is two CBOR items, the map and then the array of sets. The
// second is read by hand (sets.go): it is all of the volume, its members alias
// the frame's buffer instead of being copied, and its counts are checked against
// one budget for the frame. A general decoder allocates 56 bytes for a member
// that took 1 byte on the wire.
//
// Bodies from 256 bytes up are compressed with zstd when that makes them
// smaller. The size in the zstd header is required, is checked before anything
// is allocated, and bounds inflation. Compression shares no state between messages,
// packing does (below). Measured (BenchmarkChanges, 2 cores, zstd's fastest level): a record of
// five fields with three updates is 471 bytes of changes and 158 on the wire, the
// same in frames of 64 KiB as of 1 MiB; encoding takes 0.8 us a change, decoding
// 0.35 us.
//
// # Packed changes
//
// Of a change of one field, about 120 bytes, most follows from what was sent before:
// the record, the actor, the dependencies, counters, checksum and hash. A [Packer] and
// an [Unpacker], a pair for each direction of a session, keep the same tables and say
// the rest (crdt.PackTables has the change itself). Both sides have to know it
// (KnowsPack); plain Changes are understood at any time.
//
//   - What is rebuilt is verified: a frame carries the first 8 bytes of the chain that
//     its members make of its From, so of all their keys and hashes. One check for a
//     frame instead of one for a change leaves 1 byte an update in large batches.
//   - A position is left out where it follows from the members, an acknowledgement names
//     a position only.
//   - Frames are numbered. A repeated one is passed over; a missing one makes those
//     behind it undecodable, which is a request for a resend as for any gap. What is sent
//     again, and loose frames from then on, is sent with empty tables and whole chunks:
//     whatever the reason was, it does not come up twice.
//   - Dependencies that the tables do not have are the first four bytes of their hashes,
//     which the receiver looks up among those of the same frame and the record's last
//     changes: it often edited the record itself meanwhile. Once records were dropped from
//     a full table whole hashes are sent, since the last change of those may not be
//     committed there yet.
//   - Tables hold 256 records for each session, and up to 16,384 while its replica has
//     room ([PackRoom]); large ones are dropped after a second of silence.
//
// On 2026-11-21, go test ./replica -run '^$' -bench 'Wire|Healing|ColdSync$', keys of 20
// bytes without any order, all bytes on the socket in both directions (WebSocket's
// framing, masks and acknowledgements included):
//
//	one-field update, 100 a second     38 bytes; 74 for the first of a record in a session
//	the same, 1,000 a change set       1.1 bytes; 20 for the first
//	2,000 records, 1,000 edited on
//	each side, 500 the same            47 KB
//	cold sync, 4 changes a record      61 bytes a record (239 unpacked); 216 of 100,000 records
//
// Mutants (TestPackedMutants, GODWIT_MUTANTS; crdt's TestDecodersTakeAnything): no panic,
// at most 32 MB for a frame, and none gives other bytes than its check says.
//
// A [Codec] belongs to a link or a server, not to the package: it holds zstd's
// tables (about 0.6 MB), and a value with channels inside may not wander between
// the bubbles of testing/synctest.
//
// Nothing here logs, and nothing here keeps state of a session.
package transport
