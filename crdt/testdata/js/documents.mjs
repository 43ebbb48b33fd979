// Writes crdt/testdata/js/*.automerge: documents as JavaScript Automerge saves
// them, each with a .json of the heads, the value and the conflicts it shows.
//   npm install @automerge/automerge@3.5.0 && node documents.mjs DIR
// Actors, times and the random numbers are fixed, so it writes the same again.
import * as A from "@automerge/automerge"
import { writeFileSync } from "fs"
import { deflateRawSync } from "zlib"
const dir = process.argv[2]
const actor = n => String(n).padStart(32, "cd")
let clock = 1700000000
const at = message => ({ time: ++clock, message })
const change = (d, f, message) => A.change(d, at(message), f)
const init = n => A.init({ actor: actor(n) })
const fork = (d, n) => A.clone(d, { actor: actor(n) })
const S = s => new A.ImmutableString(s)

// canon names the type of everything, so that JSON loses nothing.
function canon(v) {
  if (v === null || v === undefined) return null
  if (typeof v === "boolean") return v
  if (typeof v === "string") return { text: v }
  if (typeof v === "number" || typeof v === "bigint") return { num: Object.is(v, -0) ? "-0" : String(v) }
  if (A.isImmutableString(v)) return { str: v.toString() }
  if (A.isCounter(v)) return { counter: String(v.value) }
  if (v instanceof Date) return { time: v.getTime() }
  if (v instanceof Uint8Array) return { bytes: Buffer.from(v).toString("base64") }
  if (Array.isArray(v)) return { list: v.map(canon) }
  return { map: Object.fromEntries(Object.keys(v).map(k => [k, canon(v[k])])) }
}
// conflicts walks what is shown and asks getConflicts of every key and element.
function conflicts(v, path, out) {
  if (v === null || typeof v !== "object" || v instanceof Date || v instanceof Uint8Array ||
    A.isImmutableString(v) || A.isCounter(v)) return out
  for (const k of Array.isArray(v) ? v.keys() : Object.keys(v)) {
    const c = A.getConflicts(v, k)
    if (c && Object.keys(c).length > 1)
      out.push({ path: [...path, k], values: Object.fromEntries(Object.entries(c).map(([id, x]) => [id, canon(x)])) })
    conflicts(v[k], [...path, k], out)
  }
  return out
}
function out(name, doc, bytes = A.save(doc)) {
  const again = A.load(bytes)
  const want = { heads: A.getHeads(again), value: canon(again), conflicts: conflicts(again, [], []), changes: A.getAllChanges(again).length }
  if (String(A.getHeads(doc)) !== String(want.heads)) throw new Error(name)
  writeFileSync(`${dir}/${name}.automerge`, bytes)
  writeFileSync(`${dir}/${name}.json`, JSON.stringify(want) + "\n")
  console.log(name, bytes.length, "bytes", want.changes, "changes", want.conflicts.length, "conflicts")
}
// deflated is a change chunk in its compressed form, type 2.
function deflated(chunk) {
  let at = 9
  while (chunk[at++] & 0x80);
  const data = deflateRawSync(chunk.subarray(at)), length = []
  for (let n = data.length; n >= 128 || !length.push(n); n >>>= 7) length.push(n & 0x7f | 0x80)
  return Buffer.concat([chunk.subarray(0, 8), Buffer.from([2, ...length]), data])
}
// random numbers (mulberry32)
function random(seed) {
  return n => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * n)
  }
}

out("empty", init(1))
{
  let d = change(init(1), d => {
    Object.assign(d, { n: null, t: true, f: false, zero: 0, minus: -7, i: new A.Int(5), u: new A.Uint(9), big: 2 ** 53 - 1,
      least: new A.Int(-(2 ** 53) + 1), x: 1.5, whole: new A.Float64(3), negzero: new A.Float64(-0), nan: NaN, inf: -Infinity, tiny: 5e-324,
      text: "plain strings are texts", none: "", s: S("immutable"), snone: S(""), b: new Uint8Array([0, 1, 254, 255]), bnone: new Uint8Array(0),
      when: new Date(1700000000123), past: new Date(-1), c: new A.Counter(3), cneg: new A.Counter(-40),
      "": "empty key", "a.b": 1, "$text": S("no form"), "é𝄞": true,
      m: {}, l: [], deep: { "": { list: [1, [2, { three: [S("x"), new Date(0), new A.Counter(1)] }]] } } })
  }, "everything, once")
  d = change(d, d => { d.c.increment(4); d.cneg.decrement(2); delete d.n; d.deep[""].list[1][1].three[2].increment(-5) })
  d = A.emptyChange(d, at("nothing"))
  d = change(d, d => { d.x = 2.5; d.m.now = { filled: S("yes") }; d.l.push(1, 2.5, S("three"), null, new Uint8Array([4])) })
  out("scalars", d)
  let e = change(fork(d, 2), d => { d.later = S("appended") })
  e = A.emptyChange(change(e, d => { d.l.splice(1, 2) }), at())
  out("incremental", e, Buffer.concat([Buffer.from(A.save(d)), Buffer.from(A.saveSince(e, A.getHeads(d)))]))
  out("changes", e, Buffer.concat(A.getAllChanges(e).map(c => Buffer.from(c))))
  out("twice", e, Buffer.concat([Buffer.from(A.save(d)), Buffer.from(A.save(e))]))
  out("backwards", e, Buffer.concat(A.getAllChanges(e).reverse().map(c => Buffer.from(c))))
  if (A.saveBundle) writeFileSync(`${dir}/bundle.refused`, A.saveBundle(e, A.getAllChanges(e).map(c => A.decodeChange(c).hash)))
}
{ // every kind of conflict, three ways
  const base = change(init(3), d => Object.assign(d, { key: S("old"), gone: S("x"), over: new A.Counter(1), scalar: S("s"), text: "some text",
    list: [S("a"), S("b"), S("c"), S("d")], nested: { a: { b: [1, 2, 3] } }, things: [{ n: 1 }, { n: 2 }] }))
  const edit = (n, f) => change(fork(base, n), f, "by " + n)
  const a = edit(4, d => { d.key = S("a"); delete d.gone; d.over.increment(5); d.scalar = "a text"; d.list[0] = S("a0"); d.list.splice(1, 1)
    d.nested.a.b[1] = 20; d.made = { by: "a", list: [1] }; d.things[0].n = 10; d.same = S("same"); d.mixed = 1; delete d.nested.a.b[0] })
  const b = edit(5, d => { d.key = S("b"); d.gone = S("kept"); d.over = S("overwritten"); d.scalar = S("b string"); d.list[0] = S("b0"); d.list[1] = S("b1")
    d.nested.a = { b: [9] }; d.made = { by: "b", more: true }; d.things[0] = { n: 11 }; d.same = S("same"); d.mixed = new Date(5) })
  const c = edit(6, d => { d.key = 3; d.gone = null; d.over = new A.Counter(100); d.scalar = { now: "a map" }; d.list[0] = ["c0"]; d.list.splice(1, 2)
    d.nested.a.b[1] = { x: 1 }; d.made = ["c"]; delete d.things[0]; d.same = S("same"); d.mixed = new Uint8Array([1]); d.text = "another text" })
  let m = A.merge(A.merge(A.clone(a), b), c)
  out("conflicts", m)
  const over = change(fork(m, 7), d => { d.made.push(S("later")); d.key = S("settled"); d.over.increment(3); d.nested.a.b[0] = 7 })
  const more = change(fork(m, 8), d => { d.made = 1; d.list[0] = S("settled too"); d.nested = { fresh: [] } })
  out("conflicts-again", A.merge(over, more))
}
{ // counters: concurrent increments, overwrites, in lists, in conflict
  let d = change(init(9), d => { d.c = new A.Counter(10); d.l = [new A.Counter(1), new A.Counter(2)] })
  const sides = [1, 2, 3, 4].map(n => {
    let s = fork(d, 10 + n)
    for (let i = 0; i < 5; i++) s = change(s, d => { d.c.increment(n); d.l[n % 2].decrement(n) })
    return n == 2 ? change(s, d => { d.c = S("two") }) : n == 3 ? change(s, d => { d.c = new A.Counter(1000); d.l[0] = new A.Counter(-1) }) : n == 4 ? change(s, d => { delete d.c; d.l.splice(1, 1) }) : s
  })
  d = sides.reduce((x, y) => A.merge(x, y))
  out("counters", d)
  out("counters-again", change(d, d => { d.l[0] = 5; if (A.isCounter(d.c)) d.c.increment(7) }))
}
{ // marks and blocks, with every expand rule, concurrently
  let d = change(init(20), d => { d.text = "The quick brown fox jumps over the lazy dog"; d.other = "𝄞 music é" })
  let e = fork(d, 21)
  for (const [i, expand] of ["both", "none", "before", "after"].entries())
    d = change(d, d => A.mark(d, ["text"], { start: 2 * i, end: 20 + i, expand }, ["bold", "link", "em", "comment:1"][i], [true, "https://example.org", 1.5, null][i] ?? new Date(1)))
  d = change(d, d => { A.unmark(d, ["text"], { start: 6, end: 8, expand: "after" }, "bold"); A.splice(d, ["text"], 5, 2, "XX") })
  d = change(d, d => A.splitBlock(d, ["text"], 10, { type: S("paragraph"), parents: [S("li")], attrs: { level: 2 } }))
  e = change(e, d => { A.mark(d, ["text"], { start: 1, end: 42, expand: "both" }, "bold", false); A.splice(d, ["text"], 0, 4, "A "); A.splitBlock(d, ["text"], 6, { type: S("heading"), parents: [], attrs: {} }) })
  e = change(e, d => { A.mark(d, ["other"], { start: 0, end: 2 }, "m", "x"); A.splice(d, ["other"], 2, 1, "") })
  d = A.merge(d, e)
  d = change(d, d => { A.joinBlock(d, ["text"], 6); A.updateBlock(d, ["text"], 12, { type: S("quote"), parents: [], attrs: {} }); A.updateText(d, ["other"], "other text") })
  out("richtext", d)
  out("deflated", d, Buffer.concat(A.getAllChanges(d).map(c => c[8] == 1 ? deflated(c) : c)))
}
{ // thousands of edits, a change each, by two actors in turns; deflated columns
  const rnd = random(1)
  let a = change(init(30), d => { d.text = ""; d.log = [] }), b = fork(a, 31)
  for (let i = 0; i < 3000; i++) {
    const edit = d => {
      const n = d.text.length
      if (n > 20 && rnd(4) == 0) A.splice(d, ["text"], rnd(n - 3), 1 + rnd(3), "")
      else A.splice(d, ["text"], rnd(n + 1), 0, "abcdefgh ÄÖ€"[rnd(12)])
    }
    if (i % 2) a = change(a, edit); else b = change(b, edit)
    if (i % 100 == 99) { a = A.merge(a, b); b = A.merge(b, a) }
    if (i % 250 == 249) a = change(a, d => d.log.push(i))
  }
  out("edits", A.merge(a, b))
}
{ // one author typing
  let d = change(init(32), d => { d.text = "" })
  for (let i = 0; i < 4000; i++) d = change(d, d => A.splice(d, ["text"], i, 0, String.fromCharCode(97 + (i * 7) % 26)))
  out("typing", d)
}
{ // large runs, large deletions, half of them concurrent to edits
  let d = change(init(33), d => { d.text = "x".repeat(20000); d.zeros = new Array(5000).fill(0); d.mixed = Array.from({ length: 3000 }, (_, i) => i % 7 ? i : null) })
  let e = change(fork(d, 34), d => { for (let i = 0; i < 50; i++) d.zeros[i * 100] = i; A.splice(d, ["text"], 10000, 0, "middle") })
  d = change(d, d => { A.splice(d, ["text"], 100, 19000, ""); d.zeros.splice(10, 4900); d.mixed.splice(0, 2999) })
  out("deletions", A.merge(d, e))
}
{ // text beyond the basic plane, combining marks, joined emoji, bidirectional
  const bits = ["👩‍👩‍👧‍👦", "é", "e\u0301", "𝄞𝔘", "שלום", "مرحبا", "日本語", "\u0000", "\uFFFC", "🏳️‍🌈", "\n\t", "ﬀ"]
  const rnd = random(2)
  let a = change(init(40), d => { d.text = bits.join(""); bits.forEach((b, i) => { d["k" + b] = S(b); }); d.list = bits.map(b => b) })
  let b = fork(a, 41)
  for (let i = 0; i < 60; i++) {
    a = change(a, d => A.splice(d, ["text"], [...d.text].slice(0, rnd(10)).join("").length, 0, bits[rnd(12)]))
    b = change(b, d => A.splice(d, ["list", rnd(12)], 0, 0, bits[rnd(12)]))
  }
  out("unicode", A.merge(a, b))
}
{ // changes of older states, whose operations leave gaps
  let d = change(init(50), d => { d.text = "0123456789"; d.n = 1 })
  for (let i = 0; i < 10; i++) {
    const old = A.getHeads(d)
    d = change(d, d => { d.n = i; A.splice(d, ["text"], 3, 2, "ab") })
    d = A.changeAt(d, old, at(), d => { d["at" + i] = i; d.n = -i; A.splice(d, ["text"], 0, 1, "Z") }).newDoc
  }
  out("older", d)
}
{ // many actors, many fields, wide merges
  let d = change(init(60), d => { for (let i = 0; i < 1500; i++) d["field" + i] = i })
  const base = d
  for (let i = 0; i < 200; i++) d = A.merge(d, change(fork(base, 1000 + i), d => { d["field" + (i % 20)] = S("by " + i); d.last = i }))
  out("actors", d)
}
{ // actors of other lengths; long messages; extreme times
  let d = A.change(A.init({ actor: "00" }), { time: 0, message: "m".repeat(5000) }, d => { d.a = 1 })
  d = A.merge(A.clone(d, { actor: "ff".repeat(64) }), A.change(A.clone(d, { actor: "ab" }), { time: 253402300799, message: "é𝄞" }, d => { d.b = [1] }))
  d = A.change(d, { time: -5 }, d => { d.a = 2; d.b.push(2) })
  out("odd", d)
}
{ // actors with an author, which stands in the extra bytes of their first change
  let d = change(A.init({ actor: actor(70), author: "cafe" }), d => { d.a = 1 })
  const e = change(A.clone(d, { actor: actor(71), author: "beef00" }), d => { d.b = S("by another") })
  d = A.merge(change(d, d => { d.a = 2 }), e)
  out("authors", change(d, d => { d.a = 3 }))
}
for (let seed = 1; seed <= 24; seed++) { // anything, concurrently
  const rnd = random(seed * 7919)
  const value = depth => [() => rnd(100), () => S("s" + rnd(9)), () => "text " + rnd(9), () => null, () => rnd(2) == 0, () => rnd(1000) / 8,
    () => new A.Counter(rnd(50)), () => new Date(1e12 + rnd(1e9)), () => new Uint8Array([rnd(256)]), () => new A.Uint(rnd(1000)),
    () => depth > 2 ? 1 : { k: value(depth + 1), j: value(depth + 1) }, () => depth > 2 ? 2 : [value(depth + 1), value(depth + 1)]][rnd(12)]()
  function edit(d) {
    let o = d, k = "abcdef"[rnd(6)]
    for (let i = 0; i < 3 && o[k] !== null && typeof o[k] == "object" && !(o[k] instanceof Date) && !(o[k] instanceof Uint8Array) &&
      !A.isCounter(o[k]) && !A.isImmutableString(o[k]) && rnd(4); i++) {
      o = o[k]
      if (!Array.isArray(o)) { k = "kjab"[rnd(4)]; continue }
      if (o.length == 0 || rnd(3) == 0) { o.splice(rnd(o.length + 1), rnd(3), value(1)); return }
      k = rnd(o.length)
    }
    if (A.isCounter(o[k]) && o[k].increment && rnd(3)) o[k].increment(rnd(20) - 10)
    else if (typeof o[k] == "string" && rnd(4) && o === d) A.splice(d, [k], rnd(o[k].length + 1), 0, "+" + rnd(10))
    else if (rnd(5) == 0 && !Array.isArray(o)) delete o[k]
    else o[k] = value(0)
  }
  let docs = [change(init(100), d => { for (const k of "abc") d[k] = value(0) })]
  for (let n = 1; n < 3; n++) docs.push(fork(docs[0], 100 + n))
  for (let i = 0; i < 60; i++) {
    const n = rnd(3)
    docs[n] = change(docs[n], d => { for (let k = 0; k <= rnd(3); k++) edit(d) })
    const m = rnd(9)
    if (m < 3 && m != n) docs[n] = A.merge(docs[n], docs[m])
  }
  out("random" + String(seed).padStart(2, "0"), docs.reduce((x, y) => A.merge(x, y)))
}
