// Package memlink connects replicas within one process, over a network that
// misbehaves on demand: frames are dropped, duplicated, reordered and delayed by
// a seed, nodes are partitioned, connections cut. It is what tests and
// simulations run on, inside testing/synctest too, and no production carrier.
//
//	n := memlink.New(seed)
//	n.Listen("hub", func(ctx context.Context, c transport.Conn) error { ... })
//	link := n.Link("phone", "hub")
//
// Frames pass through the codec, so that what arrives has been bytes. A
// connection has no goroutine of its own: a frame waits in a bounded queue until
// its time has come and the receiver fetches it.
//
// Each direction of a connection draws its faults from its own source, seeded by
// the network's seed, the two names and how many connections they had before.
// So what happens to the n-th frame of a connection does not depend on how
// goroutines were scheduled.
package memlink
