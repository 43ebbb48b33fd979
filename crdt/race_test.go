//go:build race

package crdt_test

// slowdown is how many times slower the race detector makes things, about.
const slowdown = 20
