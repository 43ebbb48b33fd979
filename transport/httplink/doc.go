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
// Browsers of another origin are refused (the websocket package's default).
package httplink
