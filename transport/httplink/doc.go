// Package httplink carries frames over HTTP: a client link that dials a hub's
// space, and a server that hosts spaces. A connection is a WebSocket (RFC 6455),
// one binary message a frame.
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
// nothing is concluded from silence.
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
// the limit of frames for 10 s without a pause is sent away with CodeRate. At most
// 10,000 identities without a session are remembered.
//
// Requests of web pages are let in by the rules of http.CrossOriginProtection, for
// every method, since a GET opens a WebSocket here; ServerOptions.Origins names other
// origins that are trusted. A hub on a loopback address that wants no token also
// looks at the name it was reached by: otherwise any page could reach it under a
// name that resolves to 127.0.0.1 (DNS rebinding).
package httplink
