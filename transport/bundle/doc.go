// Package bundle carries change sets in a file, for a peer that nothing but a stick
// reaches. A bundle is what one side of a session sends, written down: whoever applies
// it holds a session with the file, so what is in it is checked, parked, refused and
// noted like everything that a peer sends.
//
//	link := bundle.Link("crew.bundle", nil)
//	counts, err := r.Sync(ctx, link, replica.PullOnly())
//
// # The format
//
//	"godwit bundle 1\n"            16 bytes
//	length, hello                  who wrote it, and where its log ended
//	length, changes                without sets: the cursor where the bundle begins
//	length, changes ...            the sets in order, each frame with the cursors around it
//	length, changes                without sets, with End: the cursor where it ends
//	0
//	SHA-256                        of all the bytes before it
//
// A length is an unsigned varint, a frame a message of transport.Codec, of at most
// transport.MaxFrame bytes. The file is read to its end and its checksum compared before
// any of it is handed on: a damaged one is refused as a whole.
//
// # Decisions
//
// When the reader of the log stands at a cursor that the bundle names, the frames from
// there on are handed on as a stretch of the log, and the reader's cursor moves: a later
// session goes on where the bundle ended. Else, when bundles were missed or their
// writer was restored from a backup, all frames go out as loose sets: they are taken, and
// wait for what they depend on if need be, but no cursor moves. To take a change twice does
// nothing.
package bundle
