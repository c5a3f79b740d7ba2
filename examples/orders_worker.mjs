// A worker for examples/orders.rs, as examples/orders_worker.rs is one:
// node --experimental-websocket orders_worker.mjs ws://127.0.0.1:9001 FILE
// prints `worked on NUMBER: ORDER` for each order, once, and then acknowledges. It survives being killed: its session and how
// far it is are in the file. Killed between the work and the acknowledgement, it is sent the order again, and knows by the file
// that it worked on it.

import { readFileSync, renameSync, writeFileSync, writeSync } from "node:fs"

const [url, file] = process.argv.slice(2)
let place = { session: "", epoch: "", seq: 0 }
try {
  place = JSON.parse(readFileSync(file, "utf8"))
} catch (error) {
  if (error.code != "ENOENT") throw error
}

/** As a whole, or not at all. */
function save() {
  writeFileSync(`${file}.new`, JSON.stringify(place))
  renameSync(`${file}.new`, file)
}

function work({ seq, data }) {
  if (seq <= place.seq) return
  writeSync(1, `worked on ${seq}: ${JSON.stringify(data)}\n`)
  place.seq = seq
  save()
}

function connect() {
  const socket = new WebSocket(url, "forebay.v1")
  const say = request => socket.send(JSON.stringify(request))
  const begin = () => {
    const { epoch, seq } = place
    say({ op: "keep", id: "keep" })
    say({ op: "subscribe", topic: "orders", from: epoch ? { epoch, seq } : "start", id: "subscribe" })
  }
  const answers = {
    resume: ({ op }) => op == "ok" || begin(), // Otherwise the session has ended.
    keep: ({ session }) => (place.session = session),
    subscribe: ({ epoch }) => {
      if (epoch != place.epoch) place.seq = 0 // The numbers are new.
      place.epoch = epoch
      save()
    }
  }
  const heard = {
    hello: () => {
      const { session, epoch, seq } = place
      if (session) say({ op: "resume", session, lanes: [{ topic: "orders", epoch, seq }], id: "resume" })
      else begin()
    },
    message: message => {
      work(message)
      say({ op: "ack", topic: "orders", seq: message.seq })
    },
    gap: gap => console.error("missed:", gap), // The history was too short.
    ok: answer => answers[answer.id](answer),
    error: answer => (answer.id == "resume" ? answers.resume(answer) : socket.close())
  }
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data)
    heard[message.op]?.(message)
  }
  socket.onerror = () => {} // A close follows, or not: nodejs/undici#3546.
  const ended = setInterval(() => {
    if (socket.readyState != WebSocket.CLOSED) return
    clearInterval(ended)
    connect()
  }, 200)
}

connect()
