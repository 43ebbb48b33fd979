// Writes marks.json: texts with marks and blocks, edited concurrently, and what
// JavaScript shows of them. Positions are UTF-16 code units.
//
//   npm install @automerge/automerge@3.5.0 && node gen_marks.mjs
import * as A from "@automerge/automerge"
import { writeFileSync } from "node:fs"

// A small deterministic generator (mulberry32), so that running it again gives
// the same file.
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

const path = ["t"]
const base64 = bytes => Buffer.from(bytes).toString("base64")
const changesOf = doc => base64(Buffer.concat(A.getAllChanges(doc).map(c => Buffer.from(c))))

// boundaries lists the positions that do not cut a surrogate pair.
function boundaries(text) {
  const at = [0]
  for (const c of text) at.push(at[at.length - 1] + c.length)
  return at
}

function edit(rng, doc, time) {
  const pick = list => list[Math.floor(rng() * list.length)]
  return A.change(doc, { time }, d => {
    for (let n = 1 + Math.floor(rng() * 3); n > 0; n--) {
      const at = boundaries(d.t)
      const from = Math.floor(rng() * at.length)
      const to = Math.min(at.length - 1, from + Math.floor(rng() * 6))
      const name = pick(["bold", "link", "é"])
      const expand = pick(["before", "after", "both", "none"])
      const span = { start: at[from], end: at[to], expand }
      switch (Math.floor(rng() * 8)) {
        case 0: case 1: case 2:
          A.splice(d, path, at[from], rng() < 0.3 ? at[to] - at[from] : 0, pick(["x", "yz", "é𝄞", "€", ""]))
          break
        case 3: case 4: case 5:
          if (from < to) A.mark(d, path, span, name, pick([true, "http://x", "http://y", 7, -1.5, false]))
          break
        case 6:
          if (from < to) A.unmark(d, path, span, name)
          break
        case 7:
          A.splitBlock(d, path, at[from], { type: pick(["p", "h1"]), n: 1 })
      }
    }
  })
}

const plain = v => JSON.parse(JSON.stringify(v))

function document(seed) {
  const rng = random(seed)
  let docs = ["aa01", "bb02", "cc03"].map(a => A.init({ actor: a }))
  docs[0] = A.change(docs[0], { time: 1 }, d => { d.t = "The 𝄞 quick fox" })
  for (let i = 1; i < 3; i++) docs[i] = A.merge(docs[i], docs[0])
  const made = [] // cursors, and the positions they had
  for (let step = 0; step < 14; step++) {
    const i = Math.floor(rng() * 3)
    if (rng() < 0.3) docs[i] = A.merge(docs[i], docs[(i + 1 + Math.floor(rng() * 2)) % 3])
    else docs[i] = edit(rng, docs[i], 10 + step)
    if (docs[i].t.length > 0 && made.length < 12) {
      const at = boundaries(docs[i].t)
      made.push(A.getCursor(docs[i], path, at[Math.floor(rng() * (at.length - 1))]))
    }
  }
  let all = docs[0]
  for (const d of docs.slice(1)) all = A.merge(all, d)
  return {
    changes: changesOf(all),
    heads: A.getHeads(all).sort(),
    text: all.t,
    marks: plain(A.marks(all, path)),
    spans: plain(A.spans(all, path)),
    cursors: made.map(c => ({ cursor: c, position: A.getCursorPosition(all, path, c) })),
  }
}

const documents = []
for (let seed = 1; seed <= 40; seed++) documents.push(document(seed))
writeFileSync("marks.json", "[\n" + documents.map(d => JSON.stringify(d)).join(",\n") + "\n]\n")
