// A client for examples/game_state.rs, as examples/game_state_client.rs is one:
// node --experimental-websocket game_state.mjs ws://127.0.0.1:9001 [SECONDS]
// prints once a second (and so often) how many entities it knows, how many updates came, and how many alerts. forebay.js
// acknowledges an alert when its handler has finished.

import { connect } from "../bindings/server/web/forebay.js"

const [url, seconds = Infinity] = process.argv.slice(2)
const client = connect(url)
const entities = new Map()
let updates = 0, alerts = 0, left = Number(seconds)

await client.subscribe("alerts", () => { alerts += 1 })
await client.subscribe("state", ({ key, data }) => {
  updates += 1
  entities.set(key, data)
}, { from: "snapshot" })

const printing = setInterval(() => {
  console.log(`${entities.size} entities, ${updates} updates, ${alerts} alerts`)
  left -= 1
  if (left > 0) return
  clearInterval(printing)
  client.close()
}, 1000)
