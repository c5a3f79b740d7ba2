// What scenarios are written with: clients that note what they are told, waiting, and asking the harness.

/** Nothing takes as long as this unless it hangs. */
export const HANG_MS = 60_000;

/** What a promise yields, unless it takes too long. */
export async function within(promise, what, hangMs = HANG_MS) {
  let timer;
  const hangs = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`hangs: ${what}`)), hangMs);
  });
  return Promise.race([promise, hangs]).finally(() => clearTimeout(timer));
}

/** What a scripted server says first. */
export const HELLO = JSON.stringify({ op: "hello", version: 1, session: "0".repeat(48), limits: { message_bytes_max: 1 << 20 } });

export class World {
  constructor(environment) {
    const { connect, ...rest } = environment;
    Object.assign(this, rest, { connectTo: connect });
    this.clients = [];
  }

  async prepare() {
    await this.control("open");
    this.urls = await this.control("urls");
  }

  /** Has the harness do something, and waits until it is done. */
  async control(command, body) {
    const response = await fetch(`${this.base}/control/${command}`, body && { method: "POST", body });
    if (!response.ok) throw new Error(`${command}: ${response.status}`);
    return response.json();
  }

  /** A client that reconnects quickly, notes what it is told and keeps its sockets with what they were given. */
  connect(url = this.urls.direct, options = {}) {
    const sockets = [];
    class WebSocket extends this.WebSocket {
      sent = [];
      constructor(...args) {
        super(...args);
        sockets.push(this);
      }
      send(text) {
        this.sent.push(text);
        super.send(text);
      }
    }
    const client = this.connectTo(url ?? undefined, { WebSocket, reconnectFirstMs: 20, reconnectMaxMs: 200, ...options });
    client.sockets = sockets;
    client.told = { open: [], close: [], gap: [], ended: [], error: [] };
    for (const [type, details] of Object.entries(client.told)) {
      client.addEventListener(type, ({ detail }) => {
        details.push(detail);
        client.wake?.();
      });
    }
    this.clients.push(client);
    return client;
  }

  /** What is random is this from now on, until the end of the scenario. */
  random(number) {
    Math.random = () => number;
  }

  /** Waits until something is so; it is looked at whenever a client is told something. */
  async until(client, what, isSo) {
    const changed = (async () => {
      while (!isSo()) await new Promise((resolve) => (client.wake = resolve));
    })();
    await within(changed, what).catch((error) => {
      throw new Error(`${error.message}; told: ${JSON.stringify(client.told)}`);
    });
  }

  /** Subscribes; the messages received, and where it began. */
  async subscribe(client, topic, options) {
    const received = [];
    const position = await client.subscribe(topic, (message) => (received.push(message), client.wake?.()), options);
    return { received, ...position };
  }
}

export function equal(actual, expected, what = "") {
  const [left, right] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (left !== right) throw new Error(`${what}: ${left}, expected ${right}`);
}

export function ok(isSo, what) {
  if (!isSo) throw new Error(what);
}

/** The code that a promise is rejected with. */
export const code = (promise) => promise.then((value) => `resolved: ${JSON.stringify(value)}`, (error) => error.code ?? error.name);
export const range = (first, last) => Array.from({ length: last - first + 1 }, (_, at) => first + at);
export const sum = (gaps) => gaps.reduce((total, gap) => total + gap.missed, 0);
export const ascends = (numbers) => numbers.every((number, at) => at === 0 || numbers[at - 1] < number);
