// Package crdt reads, checks and writes Automerge histories in Go: changes, the
// history of a record that they make up, the views of it, and the nouns that the
// rest of godwit speaks in: actors, hashes, clocks, heads, cursors.
//
// It is not an Automerge engine with a C library below, nor does it store or send
// anything. It imports no other package of godwit.
//
// # Changes
//
// ParseChange takes bytes from anywhere and returns a Change or says why not.
// A Change is immutable and its raw bytes are what is stored, hashed and sent.
//
// Decisions on the encoding:
//
//   - A change is taken only in the one encoding that Automerge's own encoder
//     writes. Automerge's compacted files hold no hashes: whoever loads one encodes
//     the changes again to get them. A change in any other encoding would make a
//     record that saves and never loads again, in every implementation.
//   - The readers check this while they decode: LEB128 is minimal, a value that
//     follows an equal one is in its run, no column is empty. Encoding again and
//     comparing says the same and costs as much as parsing; the tests do it, for
//     whatever the fuzzer gets accepted.
//   - What no Automerge writes is refused, even where the core would take it: tables
//     (action 6), unknown columns, deflated columns inside a change, actors without
//     bytes, marks without a name, increments by anything but an int, inserts with
//     predecessors, references to later operations. Extra bytes at the end survive.
//   - Columns of unknown kinds are refused rather than kept: nothing can be checked
//     of them, and no Automerge up to 3.5 writes any.
//   - Changes are kept plain (type 1). A deflated one (type 2) is inflated on the way
//     in, up to MaxChangeSize; the hash is over the plain form. Storage and transport
//     compress many changes at a time, which is better.
//   - Sizes are checked before anything is allocated for them. What a change costs is
//     bounded by MaxOps (about 120 bytes of memory each), not by its length: deleting
//     a text of 100,000 characters takes a dozen bytes. Whoever parses many changes
//     before using them keeps a budget of operations.
//   - Strings, keys and dependencies of a parsed change alias its raw bytes, which
//     never change. So a change of one field costs few allocations, and keeping a
//     string keeps its change.
//
// # JSON
//
// ParseJSON and AppendJSON map JSON to the types of Automerge and back, so that
// writing what was read changes nothing. Integers and floats are told apart by the
// fraction or exponent; what JSON has no type for has a form, an object with one
// key such as {"$time": "2026-01-02T03:04:05Z"}. A map of a record that looks like a
// form is written inside {"$map": ..}. Times are cut to milliseconds when read.
package crdt
