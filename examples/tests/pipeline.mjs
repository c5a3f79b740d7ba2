// A source for examples/pipeline.rs, made of streams of Node's:
// node --experimental-websocket pipeline.mjs ws://127.0.0.1:9001 COUNT [BYTES [NUMBER]]
// sends COUNT lines of BYTES, of which line NUMBER is no JSON. It prints the number of each line it has made.

import { Readable, Transform, Writable } from "node:stream"
import { pipeline } from "node:stream/promises"

const [url, count, bytes = 100, bad = 0] = process.argv.slice(2).map((text, at) => (at ? Number(text) : text))

/** What is written is published; it is written when it is acknowledged. That is all there is to backpressure. */
class Publisher extends Writable {
  #waiting = new Map()
  #id = 0
  #count = 0

  constructor(url) {
    super({ objectMode: true, highWaterMark: 16 })
    this.socket = new WebSocket(url)
    this.socket.onmessage = ({ data }) => this.#read(JSON.parse(data))
    this.socket.onclose = ({ code, reason }) => this.destroy(new Error(`closed: ${code} ${reason}`))
    this.socket.onerror = () => {} // A close follows.
  }

  #read({ op, id, code, message, matched, data }) {
    const callback = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (op == "ok") callback(matched === 0 ? new Error("nobody is left to take lines") : null)
    if (op == "error") callback(new Error(`${code}: ${message}`))
    if (op == "message" && data.error) this.destroy(new Error(data.error))
    if (op == "message" && "end" in data) this.ended(data.end == this.#count ? null : new Error("not all arrived"))
  }

  #ask(request, callback) {
    this.#waiting.set(++this.#id, callback)
    this.socket.send(JSON.stringify({ ...request, id: this.#id }))
  }

  _construct(callback) {
    this.socket.onopen = () => this.#ask({ op: "subscribe", topic: "outcome" }, callback)
  }

  _write(line, _encoding, callback) {
    this.#count += 1
    this.#ask({ op: "publish", topic: "lines", data: { line } }, callback)
  }

  /** It has finished when the other end has everything. */
  _final(callback) {
    this.ended = callback
    this.#ask({ op: "publish", topic: "lines", data: { end: this.#count } }, error => error && callback(error))
  }

  _destroy(error, callback) {
    this.socket.onclose = null
    this.socket.close()
    callback(error)
  }
}

function* numbers() {
  for (let number = 1; number <= count; number++) {
    process.stdout.write(`${number}\n`)
    yield number
  }
}

const toText = new Transform({
  objectMode: true,
  highWaterMark: 16,
  transform(number, _encoding, callback) {
    callback(null, number == bad ? "not JSON" : JSON.stringify({ number, fill: "x".repeat(bytes) }))
  }
})

try {
  await pipeline(Readable.from(numbers()), toText, new Publisher(url))
  console.log("finished")
} catch (error) {
  console.log(`failed: ${error.message}`)
  process.exitCode = 1
}
