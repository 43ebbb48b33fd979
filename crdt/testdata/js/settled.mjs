// Shows JavaScript's Automerge the scenes of settled_test.go: changes that settle
// a concurrent deletion by deleting once more what it deleted, and that revive deleted
// elements of lists by writing to them. Adds what it shows of each: heads, value
// and conflicts, which have to be the same in whatever order the changes come.
//
// Automerge 3.5.0 loses sight of an object in one case, in its own histories too (own,
// below): of two values of a key the one shown is deleted, and in the same batch the
// other comes, an object. The document shows the deleted value until it is loaded
// again. So what counts is what loading shows; the others are counted.
//   GODWIT_SETTLED_OUT=/tmp/settled go test ./crdt -run TestSettledAsJavaScript
//   npm install @automerge/automerge@3.5.0 && node settled.mjs /tmp/settled settled.json
// Given what it wrote, it writes the same again.
import * as A from "@automerge/automerge"
import { readFileSync, writeFileSync } from "fs"
const [from, to] = process.argv.slice(2)

// canon and conflicts are those of documents.mjs.
function canon(v) {
  if (v === null || v === undefined) return null
  if (typeof v === "boolean") return v
  if (typeof v === "string") return { text: v }
  if (typeof v === "number" || typeof v === "bigint") return { num: Object.is(v, -0) ? "-0" : String(v) }
  if (A.isImmutableString(v)) return { str: v.toString() }
  if (A.isCounter(v)) return { counter: String(v.value) }
  if (Array.isArray(v)) return { list: v.map(canon) }
  return { map: Object.fromEntries(Object.keys(v).map(k => [k, canon(v[k])])) }
}
function conflicts(v, path, out) {
  if (v === null || typeof v !== "object" || A.isImmutableString(v) || A.isCounter(v)) return out
  for (const k of Array.isArray(v) ? v.keys() : Object.keys(v)) {
    const c = A.getConflicts(v, k)
    if (c && Object.keys(c).length > 1)
      out.push({ path: [...path, k], values: Object.fromEntries(Object.entries(c).sort().map(([id, x]) => [id, canon(x)])) })
    conflicts(v[k], [...path, k], out)
  }
  return out
}
const look = d => ({ heads: A.getHeads(d).sort(), value: canon(d), conflicts: conflicts(d, [], []) })
function random(seed) { // mulberry32
  return n => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * n)
  }
}
const rnd = random(1)
function shuffled(list) {
  const out = [...list]
  for (let i = out.length - 1; i > 0; i--) {
    const j = rnd(i + 1)
    ;[out[i], out[j]] = [out[j], out[i]]
  }
  return out
}

// own has Automerge by itself lose sight of an object, and reports whether it did.
function own() {
  const init = n => A.init({ actor: String(n).padStart(32, "0") })
  const object = A.change(init(1), d => { d.v = { by: 0 } })
  const shown = A.change(init(2), d => { d.v = 2 })
  const deleted = A.change(A.clone(shown), d => { delete d.v })
  const [d] = A.applyChanges(shown, [...A.getAllChanges(object), ...A.getChanges(shown, deleted)])
  return JSON.stringify(canon(d)) !== JSON.stringify(canon(A.load(A.save(d))))
}

let orders = 0, inConflict = 0, differing = 0, stale = 0
const lines = readFileSync(from, "utf8").trim().split("\n").map(line => {
  const { name, raw } = JSON.parse(line)
  const changes = raw.map(b => new Uint8Array(Buffer.from(b, "base64")))
  const all = [changes, [...changes].reverse(), ...Array.from({ length: 20 }, () => shuffled(changes))]
  let want
  for (const order of all) { // what comes too early waits
    let d = A.init()
    for (const c of order) [d] = A.applyChanges(d, [c])
    for (const doc of [A.load(A.save(d)), A.load(Buffer.concat(order))]) {
      const got = JSON.stringify(look(doc))
      want ??= got
      if (got !== want) differing++, console.log(`${name}\n  ${want}\n  ${got}`)
    }
    orders++
    const got = look(d)
    if (String(got.heads) !== String(JSON.parse(want).heads)) differing++, console.log(`${name}: heads`)
    if (JSON.stringify(got) !== want) stale++
  }
  inConflict += JSON.parse(want).conflicts.length
  return JSON.stringify({ name, raw, ...JSON.parse(want) })
})
console.log(`${lines.length} scenes, ${inConflict} conflicts, in ${orders} orders: ${differing} differ, ${stale} do until they are loaded again (Automerge's own: ${own()})`)
if (differing || stale && !own()) process.exit(1)
writeFileSync(to, lines.join("\n") + "\n")
