// A worker for examples/orders.rs: node --experimental-websocket orders_worker.mjs ws://127.0.0.1:9001 FILE
// prints `worked on NUMBER: ORDER` for each order, once. forebay.js acknowledges an order when its handler has finished, and takes
// the session over when the connection was lost. Killed and started again, the worker begins behind the last order in the file.
// (Killed between the work and the file, it works on one again: where that matters, work and file are one transaction.)

import { readFileSync, renameSync, writeFileSync, writeSync } from "node:fs"
import { connect } from "../bindings/server/web/forebay.js"

const [url, file] = process.argv.slice(2)
let place = { epoch: "", seq: 0 }
try {
  place = JSON.parse(readFileSync(file, "utf8"))
} catch (error) {
  if (error.code != "ENOENT") throw error
}

const client = connect(url, { resume: true })
client.addEventListener("gap", ({ detail }) => {
  console.error("missed:", detail) // The history was too short.
  if (detail.reasons.includes("reset")) place.seq = 0 // The numbers are new.
})

// What waits for the worker are 10 orders; the others wait at the server.
const options = { from: place.epoch ? place : "start", credit: 10 }
const { epoch } = await client.subscribe("orders", ({ seq, data }) => {
  if (seq <= place.seq) return
  writeSync(1, `worked on ${seq}: ${JSON.stringify(data)}\n`)
  place.seq = seq
  save()
}, options)
place.epoch = epoch
save()

/** As a whole, or not at all. */
function save() {
  writeFileSync(`${file}.new`, JSON.stringify(place))
  renameSync(`${file}.new`, file)
}
