// The package `ws` (in WS_MODULES) against a server that compresses: node client.mjs URL with|without
import { createRequire } from "node:module";

const { WebSocket } = createRequire(`${process.env.WS_MODULES}/`)("ws");
const [url, contexts] = process.argv.slice(2);

const text = "a text in which much comes again, and again: ägäin ";
const payloads = ["", "x", text, text.repeat(100), Array.from({ length: 3000 }, (_, n) => (n * n) % 1009).join(), text.repeat(4000)];

/** What is offered, and what the extension is to be then; "": there is none. */
const offers = [
  [{ threshold: 0 }, "permessage-deflate"],
  [{ threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true }, "permessage-deflate"],
  [{ threshold: 0, serverMaxWindowBits: 9, clientMaxWindowBits: 10 }, "permessage-deflate"],
  [{ threshold: 64, serverMaxWindowBits: 8 }, ""],
  [false, ""],
];

/** Publishes each payload and waits until it came back. */
async function exchange(perMessageDeflate, expected) {
  const socket = new WebSocket(url, "forebay.v1", { perMessageDeflate });
  const waiting = new Map();
  const come = (name) => new Promise((resolve) => waiting.set(name, resolve));
  const failed = new Promise((_, reject) => {
    socket.on("error", reject);
    socket.on("close", (code, reason) => reject(new Error(`closed: ${code} ${reason}`)));
  });
  socket.on("message", (data) => {
    for (const message of [JSON.parse(data.toString())].flat()) {
      const name = message.op === "message" ? `${message.data.nth}` : message.op;
      waiting.get(name)?.(message);
    }
  });
  const hello = come("hello");
  await Promise.race([hello, failed]);
  if (socket.extensions !== expected) throw new Error(`extensions ${JSON.stringify(socket.extensions)}, not ${JSON.stringify(expected)}`);
  const subscribed = come("ok");
  socket.send(JSON.stringify({ op: "subscribe", topic: `node-${Math.random()}`.slice(0, 20), id: "s" }));
  const { topic } = await Promise.race([subscribed, failed]);
  for (let round = 0; round < 3; round += 1) {
    const came = payloads.map((_, nth) => come(`${round * 100 + nth}`));
    payloads.forEach((payload, nth) => socket.send(JSON.stringify({ op: "publish", topic, data: { nth: round * 100 + nth, payload } })));
    for (const [nth, message] of (await Promise.race([Promise.all(came), failed])).entries()) {
      if (message.data.payload !== payloads[nth]) throw new Error(`payload ${nth} came back as another`);
    }
  }
  failed.catch(() => {});
  socket.close(1000);
}

/** How much the second of two messages costs that say the same, in bytes. */
async function repeated() {
  const socket = new WebSocket(url, "forebay.v1", { perMessageDeflate: { threshold: 0, serverNoContextTakeover: false } });
  const failed = new Promise((_, reject) => socket.on("error", reject));
  const next = () => Promise.race([failed, new Promise((resolve) => socket.once("message", resolve))]);
  await next();
  socket.send(JSON.stringify({ op: "subscribe", topic: `twice-${contexts}`, id: "s" }));
  await next();
  let before;
  for (let round = 0; round < 2; round += 1) {
    before = socket._socket.bytesRead;
    socket.send(JSON.stringify({ op: "publish", topic: `twice-${contexts}`, data: payloads[4] }));
    await next();
  }
  socket.close(1000);
  return socket._socket.bytesRead - before;
}

const bytes = await repeated();
if (contexts === "with" ? bytes > 500 : bytes < 1500) throw new Error(`${bytes} bytes ${contexts} a context`);
for (const [offer, expected] of offers) await exchange(offer, expected);
console.log(`${contexts}: ${offers.length} offers, all messages came back`);
