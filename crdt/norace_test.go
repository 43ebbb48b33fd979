//go:build !race

package crdt_test

const slowdown = 1
