// Package compactor turns the changes of a record into one document chunk, by
// Automerge's own core. It is the one place outside tests that uses the core, and
// it hands it nothing but changes that package crdt has validated.
//
//	k := compactor.New(1<<30, 0)
//	defer k.Close()
//	doc, err := k.Compact(changes, heads)
//
// # What is verified
//
// Automerge's documents hold no hashes of changes: who loads one encodes them
// again. So a document counts only after the core has loaded it again with equal
// heads, and crdt.ParseDocument has given the very changes that went in, byte by
// byte. Until then nothing may be thrown away.
//
// # Memory
//
// What the core takes the collector of Go does not see, and only finalizers free
// it. A Compactor therefore adds up estimates and runs the collector, and waits
// for the finalizers, whenever a budget is spent. Measured (growth of the resident
// memory when a document is loaded, which takes more than applying the changes):
//
//	20,000 changes of one field          57 MB   2,900 bytes a change   estimated 61 MB
//	20,000 changes, a key each           51 MB   2,600 bytes a change             61 MB
//	100,000 keys in 10 changes           77 MB     770 bytes an op                82 MB
//	100,000 characters, a change each   168 MB   1,700 bytes a change            302 MB
//	499,001 characters in 500 changes   358 MB     720 bytes an op               401 MB
//	1,000 changes of a 10 KB string      21 MB   2 bytes a byte                   23 MB
//
// A record of 20,000 keys compacted 25 times, with a budget of 64 MiB: at most 142 MB
// more than the program had; 233 MB when only Go's own garbage made the collector
// run, 767 MB without any collection.
package compactor
