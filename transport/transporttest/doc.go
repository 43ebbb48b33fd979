// Package transporttest is the conformance suite that the Conns of every carrier
// pass: what transport.Conn promises, as tests.
//
//	transporttest.Run(t, func(tb testing.TB) (a, b transport.Conn) { ... })
//
// Run wants a path that is good: it tests order, bounds, back-pressure, contexts
// and closing. RunBroken wants one that the test can break: what has arrived then
// is a beginning of what was sent, at every frame, and a session goes on from it
// over another. RunHiding wants one that loses, repeats or delays what a carrier
// promises to make good.
package transporttest
