// node --experimental-websocket pages.mjs CHROMIUM PROFILE URL SCRIPT
// opens a page in a browser, runs a script in it and prints what that gives.

import { spawn } from "node:child_process"
import { rmSync } from "node:fs"

const [chromium, profile, url, script] = process.argv.slice(2)
// In containers the sandbox has not the rights it needs, and /dev/shm not the room.
const flags = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run"]
const browser = spawn(chromium, [...flags, "--remote-debugging-port=0", `--user-data-dir=${profile}`, "about:blank"], {
  stdio: ["ignore", "ignore", "pipe"]
})

/** Chromium's protocol: https://chromedevtools.github.io/devtools-protocol/ */
async function evaluate() {
  const debugged = await new Promise((resolve, reject) => {
    let text = ""
    browser.on("exit", () => reject(new Error(`the browser has ended: ${text}`)))
    browser.stderr.on("data", data => {
      text += data
      const found = text.match(/DevTools listening on (ws:\S+)/)
      if (found) resolve(new URL(found[1]).host)
    })
  })
  const page = await (await fetch(`http://${debugged}/json/new?${url}`, { method: "PUT" })).json()
  const socket = new WebSocket(page.webSocketDebuggerUrl)
  let last = 0
  const ask = (method, params) =>
    new Promise(resolve => {
      const id = ++last
      socket.addEventListener("message", ({ data }) => JSON.parse(data).id == id && resolve(JSON.parse(data).result))
      socket.send(JSON.stringify({ id, method, params }))
    })
  await new Promise(resolve => (socket.onopen = resolve))
  const loaded = () => ask("Runtime.evaluate", { expression: `location.href == "${url}" && document.readyState == "complete"` })
  while (!(await loaded())?.result?.value) await new Promise(resolve => setTimeout(resolve, 20))
  const { result, exceptionDetails } = await ask("Runtime.evaluate", { expression: script, awaitPromise: true })
  return exceptionDetails ? `failed: ${JSON.stringify(exceptionDetails)}` : result.value
}

const deadline = new Promise(resolve => setTimeout(resolve, 60_000, "failed: not in time"))
const result = await Promise.race([evaluate().catch(error => `failed: ${error.message}`), deadline])
const ended = new Promise(resolve => browser.on("exit", resolve))
browser.kill()
if (browser.exitCode === null) await ended
// Processes of its own may still be writing there.
rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
process.stdout.write(String(result), () => process.exit())
