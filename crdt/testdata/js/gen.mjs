// Writes crdt/testdata/js/*.changes: concatenated change chunks of small documents.
//   npm install @automerge/automerge@3.5.0 && node gen.mjs DIR
import * as A from "@automerge/automerge"
import { writeFileSync } from "fs"
const dir = process.argv[2]
const actor = n => String(n).padStart(32, "ab")
const out = (name, doc) => {
  const cs = A.getAllChanges(doc)
  writeFileSync(`${dir}/${name}.changes`, Buffer.concat(cs.map(c => Buffer.from(c))))
  console.log(name, cs.length)
}
const at = (time, message) => ({ time, message })

{ // every scalar, nested maps and lists, empty keys
  let d = A.init({ actor: actor(1) })
  d = A.change(d, at(1, "all scalars"), d => {
    Object.assign(d, { n: null, t: true, f: false, i: -7, big: 2 ** 53 - 1, u: new A.Uint(9), int: new A.Int(5),
      x: 1.5, whole: new A.Float64(3), nan: NaN, inf: Infinity, s: new A.ImmutableString("scalar"), text: "text é𝄞",
      b: new Uint8Array([0, 1, 255]), when: new Date(1700000000123), c: new A.Counter(3), "": "empty key",
      m: { "": { deep: [1, [2, { three: 3 }]] } }, l: [1, 1, 1, 2, null, null, "x", true] })
  })
  d = A.change(d, at(2), d => { d.c.increment(4); d.c.decrement(2); d.l.splice(1, 3, "in"); delete d.n; d.m[""].deep[0] = 9 })
  d = A.emptyChange(d, at(3, "nothing"))
  out("scalars", d)
}
{ // three actors, concurrent edits of everything, merges
  let a = A.init({ actor: actor(3) })
  a = A.change(a, at(10), d => { d.title = "hello world"; d.list = ["a", "b", "c"]; d.count = new A.Counter(0); d.x = { y: 1 } })
  let b = A.clone(a, { actor: actor(1) }), c = A.clone(a, { actor: actor(2) })
  for (let i = 0; i < 6; i++) {
    a = A.change(a, at(20 + i), d => { A.splice(d, ["title"], i, 1, "A" + i); d.list.push("a" + i); d.count.increment(1); d.x.y = i })
    b = A.change(b, at(21 + i), d => { A.splice(d, ["title"], 2, 0, "bb"); d.list.splice(0, 1); d.list.push("b" + i, "bb"); d.count.increment(10); d.x = { y: "b" + i } })
    c = A.change(c, at(22 + i), d => { d.list[0] = "c" + i; delete d.x; d["c" + i] = new A.Counter(i) })
    if (i % 2) { a = A.merge(a, A.clone(b)); b = A.merge(b, A.clone(c)) }
    if (i == 3) c = A.merge(c, A.clone(a))
  }
  a = A.change(a, at(30), d => { d.same = "a" }); b = A.change(b, at(30), d => { d.same = "b" }); c = A.change(c, at(30), d => { d.same = "c" })
  a = A.merge(A.merge(a, b), c)
  a = A.change(a, at(40, "settle"), d => { d.x = "settled"; d.same = "one"; d.list[0] = "s"; d.count.increment(100) })
  out("concurrent", a)
}
{ // marks and blocks
  let d = A.from({ text: "The quick brown fox jumps over the lazy dog" }, { actor: actor(5) })
  const e0 = A.clone(d, { actor: actor(4) })
  d = A.change(d, at(50), d => A.mark(d, ["text"], { start: 4, end: 9, expand: "both" }, "bold", true))
  d = A.change(d, at(51), d => A.mark(d, ["text"], { start: 0, end: 20, expand: "none" }, "link", "https://example.org"))
  d = A.change(d, at(52), d => { A.unmark(d, ["text"], { start: 6, end: 8, expand: "after" }, "bold"); A.splice(d, ["text"], 5, 2, "XX") })
  d = A.change(d, at(53), d => A.splitBlock(d, ["text"], 10, { type: new A.ImmutableString("paragraph"), parents: [], attrs: {} }))
  let e = A.change(e0, at(54), d => { A.mark(d, ["text"], { start: 2, end: 12, expand: "before" }, "em", 1); A.splice(d, ["text"], 0, 4, "A ") })
  d = A.merge(d, e)
  d = A.change(d, at(55), d => { A.joinBlock(d, ["text"], 8); A.updateText(d, ["text"], "A quick brown fox") })
  out("richtext", d)
}
{ // a change of an older state (changeAt), long runs, a deletion of thousands
  let d = A.from({ text: "x".repeat(3000), zeros: new Array(500).fill(0) }, { actor: actor(6) })
  const old = A.getHeads(d)
  d = A.change(d, at(60), d => { A.splice(d, ["text"], 100, 2500, "") ; d.zeros.splice(10, 400) })
  d = A.changeAt(d, old, at(61), d => { A.splice(d, ["text"], 3000, 0, "yz"); d.zeros[0] = 1 }).newDoc
  d = A.change(d, at(62), d => { for (let i = 0; i < 40; i++) d["k" + i] = i % 3 })
  out("runs", d)
}
