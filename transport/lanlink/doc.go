// Package lanlink finds replicas of the same space on a local network segment, so
// that they need no address of each other. It carries no frames: whoever finds a peer
// dials it over HTTP (httplink), and it supplies the TLS configuration that keeps
// strangers out.
//
//	err := lanlink.Run(ctx, &lanlink.Options{Space: "crew", Replica: id, Port: port, Key: key,
//		Found: func(ctx context.Context, p lanlink.Peer) { ... dial p.Addr until ctx ends ... }})
//
// # Decisions
//
// It is multicast DNS (RFC 6762) with service discovery (RFC 6763): a replica is the
// instance REPLICA._godwit._tcp.local with an SRV record and a TXT record "v=1",
// "space=TAG". The tag is a hash of the space's name and the key, so neither is told,
// and replicas of other spaces or with other keys pass each other by.
//
// Messages are read and written here, with golang.org/x/net/dns/dnsmessage.
// github.com/hashicorp/mdns was considered: it does not tell where an answer came
// from, gathers answers without a bound, joins the interface of the default route
// alone, which a network without a router does not have, and does not wait for its
// goroutines.
//
// Nothing that a message says is trusted but the port. The address to dial is the one
// that the message came from, and only if that is on a network of this machine (RFC
// 6762, section 11), so nobody can have others dialled somewhere else. Of two
// replicas the one with the lesser ID dials: others, and itself, it does not note. At
// most 64 are dialled at a time. An address that did not work out is left alone for
// 15 s, so that somebody who announces a foreign ID cannot keep the right one away.
//
// IPv4 only: where there is a LAN, there is IPv4, if only self-assigned (RFC 3927).
//
// # The key
//
// A bearer token is no protection here: it would be shown to whoever announces
// himself. Instead all replicas share a secret, of which an Ed25519 key is derived
// (HKDF, RFC 5869), and both sides of a TLS 1.3 connection prove that they have it:
// each certificate must be of that one key. So who does not have it can neither read
// nor pretend. Without one, whoever is on the network can read and write the space.
package lanlink
