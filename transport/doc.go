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
// is allocated, and bounds inflation. Each message stands alone: no state is
// shared between messages, so a resend, a relay and a dropped frame need no
// care. Measured (BenchmarkChanges, 2 cores, zstd's fastest level): a record of
// five fields with three updates is 471 bytes of changes and 158 on the wire, the
// same in frames of 64 KiB as of 1 MiB; encoding takes 0.8 us a change, decoding
// 0.35 us. The frame of one live change is 179 bytes, and no smaller packed.
//
// A [Codec] belongs to a link or a server, not to the package: it holds zstd's
// tables (about 0.6 MB), and a value with channels inside may not wander between
// the bubbles of testing/synctest.
//
// Nothing here logs, and nothing here keeps state of a session.
package transport
