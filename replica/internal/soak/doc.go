// Package soak keeps a hub and its replicas busy on real files and sockets: writers at
// a steady pace, watchers, watchers that stall, a replica that comes and goes, peers that
// connect and read nothing. It has a test only.
//
// go test runs it for a second or two, which shows that everything converges in the end,
// that whoever watched saw each change, and that no goroutine is left. For as long as
//
//	go test ./replica/internal/soak -soak 10m -timeout 20m -v
//
// says, it also holds memory (Go's heap after a collection, and what is resident) and the
// 99th percentile of an update, each minute's, against those of the first minute.
package soak
