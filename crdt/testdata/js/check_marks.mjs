// Holds texts that godwit made against what JavaScript shows of them.
//
//   GODWIT_MARKS_OUT=/tmp/marks.json go test ./crdt -run TestMarksConverge
//   npm install @automerge/automerge@3.5.0 && node check_marks.mjs /tmp/marks.json
import * as A from "@automerge/automerge"
import { readFileSync } from "node:fs"
import { deepStrictEqual } from "node:assert"

const plain = v => JSON.parse(JSON.stringify(v))
const byPlace = (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.start - b.start)
let marks = 0
const documents = JSON.parse(readFileSync(process.argv[2]))
for (const [i, d] of documents.entries()) {
  const loaded = A.loadIncremental(A.init(), Buffer.from(d.changes, "base64"))
  for (const doc of [loaded, A.load(A.save(loaded))]) {
    deepStrictEqual(A.getHeads(doc).sort(), d.heads, `heads of ${i}`)
    deepStrictEqual(doc.t, d.text, `text of ${i}`)
    deepStrictEqual(plain(A.marks(doc, ["t"])).sort(byPlace), d.marks.sort(byPlace), `marks of ${i}`)
    deepStrictEqual(plain(A.spans(doc, ["t"])), d.spans, `spans of ${i}`)
  }
  marks += d.marks.length
}
console.log(`${documents.length} texts with ${marks} marks: equal`)
