// A client for examples/game_state.rs, as examples/game_state_client.rs is one:
// node --experimental-websocket game_state.mjs ws://127.0.0.1:9001 [SECONDS]
// prints once a second (and so often) how many entities it knows, how many updates came, and how many alerts.

const [url, seconds = Infinity] = process.argv.slice(2)
const socket = new WebSocket(url, "forebay.v1")
const say = request => socket.send(JSON.stringify(request))
const entities = new Map()
let updates = 0, alerts = 0, left = Number(seconds)

socket.onopen = () => {
  say({ op: "subscribe", topic: "alerts" })
  say({ op: "subscribe", topic: "state", from: "snapshot" })
}

socket.onmessage = ({ data: text }) => {
  const { op, topic, seq, key, data } = JSON.parse(text)
  if (op != "message") return // The state has no gaps.
  if (topic == "state") {
    updates += 1
    entities.set(key, data)
  } else {
    alerts += 1
    say({ op: "ack", topic, seq })
  }
}

socket.onclose = ({ code }) => {
  if (left > 0) throw new Error(`closed: ${code}`)
}

const printing = setInterval(() => {
  console.log(`${entities.size} entities, ${updates} updates, ${alerts} alerts`)
  left -= 1
  if (left > 0) return
  clearInterval(printing)
  socket.close()
}, 1000)
