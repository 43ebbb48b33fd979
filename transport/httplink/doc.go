// Package httplink carries frames over HTTP: a client link that dials a hub's
// space, and a server that hosts spaces. A connection is a WebSocket (RFC 6455),
// one binary message a frame, or what gets through instead: server-sent events
// down and POST up, long-poll down and POST up, or single POSTs.
//
//	link, err := httplink.New("https://hub.example/spaces/crew", &httplink.Options{Token: token})
//
//	hub := httplink.Handler(&httplink.ServerOptions{Accept: session})
//	http.ListenAndServe("localhost:8080", hub)
//
// It knows nothing of replicas: the server hands each connection to a function.
//
// # Decisions
//
// Frames are compressed already, so the WebSocket's own compression is off. The
// subprotocol "godwit.1" must be agreed on, so that a WebSocket server of another
// kind is an error at once.
//
// Each connection has a goroutine that reads, one frame ahead of the session. So
// a Recv that is given up loses nothing, pings are answered while the session
// works, and closing can drain what is still on its way, without which TCP would
// throw away the last frames that were sent the other way. When the session does
// not fetch, reading stops, and TCP slows the peer down.
//
// A connection that was silent for a heartbeat is probed with a ping, and closed
// when that is not answered within another one. While the session is slow,
// nothing is concluded from silence. A timer does it, and a session runs in a
// goroutine of its own and not in that of the request which opened it: an idle
// connection keeps no goroutine for its heartbeat and no stack that HTTP has grown.
//
// # The ladder
//
// A dial takes the highest rung that gets through. A WebSocket shows that by
// something that comes down it, events by a first line: a proxy may open the one
// and pass nothing, or keep the other until the answer is whole. A refusal that
// carries Godwit-Code is the hub's own and final, and so is a 401, or a 429 or 503
// with Retry-After; what else goes wrong with a request may be the work of
// something on the way, and the next rung is tried. A rung counts as blocked only
// when a lower one got through in the same dial, for Options.ClimbAfter, twice as
// long each time, at most an hour; when nothing gets through that is forgotten. A
// connection on a lower rung looks every ClimbAfter for more: events and polls take
// over in place, for a WebSocket (probed with the subprotocol "godwit.probe", which
// opens no session) it ends once it is quiet, and the session dials again. A rung
// that fails three times in a row while POSTs are answered is left for the next
// one, in place too.
//
// A HEAD request is answered with Godwit-Code "here", whoever sends it: by that a link
// finds out that the way to the hub is open again (transport.Prober), without a token
// or a session.
//
// Below the WebSocket a connection is virtual: each way a stream of bytes, of
// messages behind their length in 4 bytes (big-endian), and each byte has a position
// (stream.go). So a message may be larger than any body, a body may be cut anywhere,
// and a request that is lost, repeated or overtaken neither loses, repeats nor
// reorders a frame. The alternative, numbered messages, would need bodies of 9 MiB
// where nginx takes 1 MiB. Each end keeps what the other has not acknowledged, and
// takes no more than 1 MiB and one message that the session does not fetch: then it
// does not read, and the sender's buffer fills. On the server such a connection
// has no goroutine of its own; ServerOptions.IdleTimeout after the last request it
// ends. The client gives up after the same time without an answer.
//
// All requests go to the URL of the space, and each is authorised anew, with
// headers from Options.HeaderFunc and TokenSource. The id has 128 random bits and
// is of use only to the subject that opened the connection, in its space, with
// equal rights. It stands in a header, since URLs get into logs.
//
//	POST  without Godwit-Link                 opens: 201, Godwit-Link: ID, Godwit-Idle: ms
//	POST  Godwit-Link, Godwit-Offset: of the body's first byte, Godwit-Ack: what came down
//	                                          200, Godwit-Ack: what came up, empty body
//	  with Godwit-Wait: ms                    the body goes down, from Godwit-Offset on, within that time
//	  with Godwit-End: 1                      nothing more comes up after the body
//	GET   Godwit-Link, Last-Event-ID: what came down, Godwit-Wait: ms
//	                                          200, Godwit-Offset and the body, within that time: a poll
//	  with Accept: text/event-stream          200, "id: POSITION" after its bytes, "data: BASE64"; a comment
//	                                          after Godwit-Wait of silence; "event: end"
//
// An answer with Godwit-End: 1 is the last. POSTs are of application/octet-stream,
// which a web page of another origin can't send unasked. Refusals are 400 (a
// header), 405, 409 (positions that do not fit: the connection is given up), 410 (no
// such connection: dial again), 413 and 415, besides those of the opening. Bodies
// are at most 512 KiB, half of that after one that did not get through, and so on
// down to 4 KiB; the server takes twice the most. One that does not arrive within 30 s, or
// the idle time, is cut off, and what came of it counts.
//
// Measured with BenchmarkRoundTrip (two hops over loopback, a change of 120 bytes,
// 2 cores, November 2026), in multiples of a bare WebSocket's 72 us: WebSocket
// 1.03, events 1.7, poll 6.0, post 2.1.
//
// # Who is let in, and for how long
//
// ServerOptions.Authorize says for each request what the peer may do; Authorize
// makes one of a Verifier, which auth.Authority is. A session lasts as long as its
// grant: on whatever rung, the server's end is wrapped (granted.go) so that it ends
// with CodeExpired then, and sends nothing after. A client with a TokenSource sends
// a fresh token as a frame of the open connection when a quarter of the time is
// left (renew.go). The server authorises the opening request again with it; a token
// that grants something else ends the session, because what was negotiated under the
// old rights no longer holds. The client dials again, at once after CodeExpired.
// Without a TokenSource an expired token is CodeToken: waiting brings no other.
//
// Limits hold for an identity: a subject, or an address where there is none. They are
// token buckets (golang.org/x/time/rate) shared by all its connections. What opens
// too much is answered with 429 and Retry-After, which the session's owner honours.
// What sends too much is read later, so that its own TCP stream slows it down: an
// honest peer with much to send packs more into a frame then. One that has been over
// the limit of frames for 10 s without a pause is sent away with CodeRate. Credentials
// that are not accepted count for the address (Limits.Failures): when they were too many,
// nobody there is listened to for a while. That is off unless asked for, because behind
// a proxy one guesser would lock everybody out. At most
// 10,000 identities without a session are remembered.
//
// Requests of web pages are let in by the rules of http.CrossOriginProtection, for
// every method, since a GET opens a WebSocket here; ServerOptions.Origins names other
// origins that are trusted. A hub on a loopback address that wants no token also
// looks at the name it was reached by: otherwise any page could reach it under a
// name that resolves to 127.0.0.1 (DNS rebinding).
package httplink
