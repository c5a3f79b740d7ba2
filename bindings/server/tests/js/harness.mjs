// What the scenarios need around them: a real server to kill and start again, which serves the client under test, a proxy
// to cut, a scripted peer, and an HTTP server through which the scenarios are had and ask for all this, from Node or from a
// browser.
//
//   node harness.mjs FOREBAY BINDING DIRECTORY COMMAND...
//
// COMMAND gets the URL of the harness as its last argument, and reports its results there. Everything that was started
// ends with standard input.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import { createInterface } from "node:readline";

const [forebay, binding, directory, ...command] = process.argv.slice(2);
/** The browser's page comes from the harness, which is another origin than the server's. */
const config = () => `
[server]
origins = ["http://127.0.0.1:${harness.address().port}"]
[limits]
stall_timeout = "1h"
pong_timeout = "1h"
close_timeout = "1h"
block_max = "1h"
[defaults]
create = "application"
[[topics]]
name = "kept"
[[topics]]
name = "other"
[[topics]]
name = "orders"
policy = "block"
delivery = "at-least-once"
ack_timeout = "1h"
[[topics]]
name = "one"
policy = "block"
delivery = "at-least-once"
in_flight_max = 1
ack_timeout = "200ms"
attempts_max = 1000
[[topics]]
name = "history"
history_messages = 100
[[topics]]
name = "small"
messages_max = 5
[[topics]]
name = "keyed"
messages_max = 100
keys_max = 20
[[topics]]
name = "fixed"
choices = []
[[topics]]
name = "ends"
policy = "disconnect"
messages_max = 5
disconnect = { scope = "topic" }
[[topics]]
name = "closes"
policy = "disconnect"
messages_max = 5
`;

const children = new Set();
function start(program, args, options) {
  const child = spawn(program, args, options);
  children.add(child);
  child.once("exit", () => children.delete(child));
  return child;
}
function finish(status) {
  for (const child of children) child.kill("SIGKILL");
  process.exit(status);
}
process.stdin.on("end", () => finish(1)).resume();
process.on("uncaughtException", (error) => {
  console.log(`FAILED: the harness: ${error.stack}`);
  finish(1);
});

// ---- the server --------------------------------------------------------------------------------------------------------

let server;
let serverPort = 0;
async function startServer() {
  const file = `${directory}/forebay.toml`;
  await writeFile(file, config());
  const args = ["serve", "--binding", binding, "--listen", `127.0.0.1:${serverPort}`, "--config", file];
  server = start(forebay, args, { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface({ input: server.stdout })) {
    const port = /ws:\/\/127\.0\.0\.1:(\d+)/.exec(line)?.[1];
    if (!port) continue;
    serverPort = Number(port);
    server.stdout.resume();
    return;
  }
  throw new Error("the server ended without a URL");
}

async function killServer() {
  const ended = once(server, "exit");
  server.kill("SIGKILL");
  await ended;
}

/** Publishes lines through a client of its own, with so many keys; returns when all are acknowledged. */
async function flood({ topic, count, bytes = 1, first = 0, keys = 0 }) {
  const args = ["publish", "--topic", topic, "--json", ...(keys ? ["--key", "/2"] : []), `ws://127.0.0.1:${serverPort}`];
  const publish = start(forebay, args, { stdio: ["pipe", "ignore", "inherit"] });
  const filler = "x".repeat(bytes);
  for (let number = 0; number < count; number += 1) {
    const key = keys ? [`key ${number % keys}`] : [];
    const line = `${JSON.stringify([Number(first) + number, filler, ...key])}\n`;
    if (!publish.stdin.write(line)) await once(publish.stdin, "drain");
  }
  publish.stdin.end();
  const [status] = await once(publish, "exit");
  if (status !== 0) throw new Error(`forebay publish: ${status}`);
}

// ---- the proxy ---------------------------------------------------------------------------------------------------------

/** Connections through the proxy: it may refuse new ones, stop passing bytes on, and cut after so many bytes. */
const proxy = { isOpen: true, pairs: new Set(), bytesLeft: Infinity, port: 0 };
function cut() {
  Object.assign(proxy, { isOpen: false, bytesLeft: Infinity });
  for (const sides of proxy.pairs) for (const side of sides) side.resetAndDestroy();
  proxy.pairs.clear();
}
const proxyServer = net.createServer((client) => {
  if (!proxy.isOpen) return client.resetAndDestroy();
  const upstream = net.connect(serverPort, "127.0.0.1");
  const sides = [client, upstream];
  proxy.pairs.add(sides);
  for (const side of sides) {
    side.on("error", () => {});
    side.on("close", () => {
      for (const other of sides) other.destroy();
      proxy.pairs.delete(sides);
    });
  }
  client.pipe(upstream);
  upstream.on("data", (data) => {
    client.write(data.subarray(0, Math.min(data.length, proxy.bytesLeft)));
    proxy.bytesLeft -= data.length;
    if (proxy.bytesLeft > 0) return;
    // What was let through shall arrive.
    upstream.pause();
    Object.assign(proxy, { isOpen: false, bytesLeft: Infinity });
    client.end(() => upstream.destroy());
  });
});

// ---- the scripted peer -------------------------------------------------------------------------------------------------

/** What a connection to /scripted gets: texts, then a Close frame if there is a code. One script per connection. */
let scripts = [];
function upgrade(request, socket) {
  const { texts = [], code } = scripts.shift() ?? {};
  const key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  const head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"];
  head.push(`Sec-WebSocket-Accept: ${createHash("sha1").update(key).digest("base64")}`);
  head.push("Sec-WebSocket-Protocol: forebay.v1", "", "");
  socket.on("error", () => {});
  socket.write(head.join("\r\n"));
  for (const text of texts) {
    const body = Buffer.from(text);
    const length = body.length < 126 ? [body.length] : [126, body.length >> 8, body.length & 255];
    socket.write(Buffer.concat([Buffer.from([0x81, ...length]), body]));
  }
  if (code) socket.end(Buffer.from([0x88, 2, code >> 8, code & 255]));
}

// ---- commands ----------------------------------------------------------------------------------------------------------

const commands = {
  urls: () => ({
    script: `http://127.0.0.1:${serverPort}/forebay.js`,
    direct: `ws://127.0.0.1:${serverPort}`,
    proxied: `ws://127.0.0.1:${proxy.port}`,
    scripted: `http://127.0.0.1:${harness.address().port}/scripted`,
  }),
  start: startServer,
  kill: killServer,
  signal: ({ name }) => void server.kill(name),
  flood,
  cut,
  cutAfter: ({ bytes }) => void (proxy.bytesLeft = Number(bytes)),
  freeze: () => proxy.pairs.forEach((sides) => sides.forEach((side) => side.pause())),
  open: () => void (proxy.isOpen = true),
  script: (_, body) => void (scripts = JSON.parse(body)),
  done: (_, body) => report(JSON.parse(body)),
};

function report(results) {
  for (const { name, failure } of results) console.log(failure ? `FAILED ${name}: ${failure}` : `ok ${name}`);
  const failed = results.filter(({ failure }) => failure).length;
  console.log(`${results.length - failed} scenarios passed, ${failed} failed`);
  setImmediate(() => finish(failed ? 1 : 0));
}

const FILES = {
  "/": ["text/html", "page.html"],
  "/scenarios.mjs": ["text/javascript", "scenarios.mjs"],
  "/sessions.mjs": ["text/javascript", "sessions.mjs"],
  "/world.mjs": ["text/javascript", "world.mjs"],
};

async function answer(request) {
  const url = new URL(request.url, "http://harness");
  if (url.pathname in FILES) {
    const [type, path] = FILES[url.pathname];
    return [type, await readFile(new URL(path, import.meta.url))];
  }
  const name = url.pathname.replace("/control/", "");
  if (!(name in commands)) return null;
  let body = "";
  for await (const part of request) body += part;
  const result = await commands[name](Object.fromEntries(url.searchParams), body);
  return ["application/json", JSON.stringify(result ?? null)];
}

const harness = http.createServer((request, response) => {
  answer(request).then(
    (found) => (found ? response.setHeader("content-type", found[0]).end(found[1]) : response.writeHead(404).end()),
    (error) => {
      console.log(`FAILED ${request.url}: ${error.stack}`);
      response.writeHead(500).end();
    },
  );
});
harness.on("upgrade", upgrade);

await once(harness.listen(0, "127.0.0.1"), "listening");
await startServer();
await once(proxyServer.listen(0, "127.0.0.1"), "listening");
proxy.port = proxyServer.address().port;
const base = `http://127.0.0.1:${harness.address().port}`;
const client = start(command[0], [...command.slice(1), base], { stdio: ["ignore", "inherit", "inherit"] });
const [status, signal] = await once(client, "exit");
console.log(`FAILED: ${command[0]} ended without results: ${signal ?? status}`);
finish(1);
