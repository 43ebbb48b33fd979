// Package transporttest is the conformance suite that the Conns of every carrier
// pass: what transport.Conn promises, as tests.
//
//	transporttest.Run(t, func(tb testing.TB) (a, b transport.Conn) { ... })
package transporttest
