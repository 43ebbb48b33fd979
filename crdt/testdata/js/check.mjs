// Holds histories that crdt took against JavaScript's Automerge: does it load
// them, show the same, save them, and load that again?
//   npm install @automerge/automerge@3.5.0
//   GODWIT_MUTANTS=100000 GODWIT_MUTANT_LOG=/tmp/mutants go test ./crdt -run 'MutantsPoisonNothing|DocumentMutants' -timeout 1h
//   node check.mjs /tmp/mutants
// A panic ends the WebAssembly instance, so the work is done in child processes.
import * as A from "@automerge/automerge"
import { createReadStream, openSync, closeSync, writeSync, readFileSync } from "fs"
import { createInterface } from "readline"
import { spawnSync } from "child_process"

const [file, from, to, log] = process.argv.slice(2)
const stride = 1000

const number = s => String(Number(String(s).replace(/Inf$/, "Infinity")))
const time = ms => Math.abs(ms) <= 8.64e15 ? Number(ms) : "beyond what Date holds"
function canon(v) {
  if (v === null || v === undefined) return null
  if (typeof v === "boolean") return v
  if (typeof v === "string") return { text: v }
  if (typeof v === "number" || typeof v === "bigint") return { num: number(v) }
  if (A.isImmutableString(v)) return { str: v.toString() }
  if (A.isCounter(v)) return { counter: number(v.value) }
  if (v instanceof Date) return { time: isNaN(v) ? time(Infinity) : v.getTime() }
  if (v instanceof Uint8Array) return { bytes: Buffer.from(v).toString("base64") }
  if (Array.isArray(v)) return { list: v.map(canon) }
  return { map: Object.fromEntries(Object.keys(v).sort().map(k => [k, canon(v[k])])) }
}
// same brings what Go wrote into the same form.
function same(v) {
  if (v === null || typeof v !== "object") return v
  const [[kind, x]] = Object.entries(v)
  if (kind === "num" || kind === "counter") return { [kind]: number(x) }
  if (kind === "time") return { time: time(x) }
  if (kind === "list") return { list: x.map(same) }
  if (kind === "map") return { map: Object.fromEntries(Object.keys(x).sort().map(k => [k, same(x[k])])) }
  return v
}
function check(line) {
  const want = JSON.parse(line)
  let step = "load", d, e
  try {
    d = A.load(Buffer.from(want.chunks, "base64"))
    if (String(A.getHeads(d).sort()) !== String(want.heads.sort())) return "heads differ"
    step = "value"
    const [ours, theirs] = [JSON.stringify(same(want.value)), JSON.stringify(canon(d))]
    if (ours !== theirs) return `value differs: ${ours.slice(0, 2000)} there ${theirs.slice(0, 2000)}`
    step = "save"
    const s = A.save(d)
    step = "load what was saved"
    e = A.load(s)
    if (String(A.getHeads(e).sort()) !== String(want.heads.sort())) return "heads differ after save"
    return ""
  } catch (err) {
    if (err.constructor.name === "PanicError" || err instanceof WebAssembly.RuntimeError) { err.fatal = true }
    const text = `${step}: ${String(err).slice(0, 300)}`
    if (err.fatal) { report(text); process.exit(3) }
    return text
  } finally {
    if (d) try { A.free(d) } catch { }
    if (e) try { A.free(e) } catch { }
  }
}
let at = 0
const report = text => writeSync(out, `${at}\t${text}\n`)
let out
async function* lines() {
  let i = 0
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) yield [i++, line]
}
if (from !== undefined) { // a child
  out = openSync(log, "a")
  for await (const [i, line] of lines()) {
    if (i < from) continue
    if (i >= to) break
    at = i
    writeSync(out, `${i}\n`)
    const wrong = check(line)
    if (wrong) report(wrong)
  }
  closeSync(out)
} else {
  let n = 0
  for await (const _ of lines()) n++
  const name = `${file}.log`
  closeSync(openSync(name, "w"))
  for (let i = 0; i < n;) {
    const end = Math.min(n, i + stride)
    const child = spawnSync(process.execPath, [process.argv[1], file, i, end, name], { stdio: ["ignore", "inherit", "inherit"] })
    const last = readFileSync(name, "utf8").trimEnd().split("\n").at(-1).split("\t")
    i = child.status === 0 ? end : Number(last[0]) + 1
    if (child.status !== 0) console.log(`${last[0]}\tdied: ${last[1] ?? child.signal}`)
  }
  const wrong = readFileSync(name, "utf8").split("\n").filter(l => l.includes("\t"))
  for (const l of wrong) console.log(l)
  console.log(`${n} histories, ${wrong.length} that JavaScript refuses or shows otherwise`)
  process.exit(wrong.length ? 1 : 0)
}
