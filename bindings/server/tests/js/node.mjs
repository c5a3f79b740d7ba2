// Runs the scenarios in Node, with the WebSocket of the package `ws` if its folder is in WS_MODULES, else with Node's own:
//
//   node node.mjs DIRECTORY BASE
import { execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

import { run } from "./scenarios.mjs";

const [directory, base] = process.argv.slice(2);
// What a browser gets, as a file: Node imports nothing from HTTP.
const file = `${directory}/forebay.mjs`;
const urls = await (await fetch(`${base}/control/urls`)).json();
await writeFile(file, await (await fetch(urls.script)).text());
const { connect } = await import(pathToFileURL(file));
const modules = process.env.WS_MODULES;
const WebSocket = modules ? createRequire(`${modules}/`)("ws").WebSocket : globalThis.WebSocket;
// Blocks this process's only thread until the harness has answered: meanwhile nothing is read from a WebSocket.
const controlBlocking = (command) => {
  const script = "fetch(process.argv[1]).then((answer) => answer.text()).then((text) => process.stdout.write(text))";
  return JSON.parse(execFileSync(process.execPath, ["-e", script, `${base}/control/${command}`]));
};
const uncaught = () => new Promise((resolve) => process.once("uncaughtException", resolve));
const results = await run({ connect, WebSocket, base, controlBlocking, uncaught, isBrowser: false });
await fetch(`${base}/control/done`, { method: "POST", body: JSON.stringify(results) });
