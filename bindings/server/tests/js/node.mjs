// Runs the scenarios in Node: `node node.mjs BASE` with the global WebSocket, or that of the package `ws` in WS_MODULES.
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";

import { connect } from "../../web/forebay.js";
import { run } from "./scenarios.mjs";

const base = process.argv[2];
const modules = process.env.WS_MODULES;
const WebSocket = modules ? createRequire(`${modules}/`)("ws").WebSocket : globalThis.WebSocket;
// Blocks this process's only thread until the harness has answered: meanwhile nothing is read from a WebSocket.
const controlBlocking = (command) => {
  const script = `fetch(process.argv[1]).then((r) => r.text()).then((text) => process.stdout.write(text))`;
  return JSON.parse(execFileSync(process.execPath, ["-e", script, `${base}/control/${command}`]));
};
const results = await run({ connect, WebSocket, base, controlBlocking });
await fetch(`${base}/control/done`, { method: "POST", body: JSON.stringify(results) });
