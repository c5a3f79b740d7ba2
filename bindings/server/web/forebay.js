/**
 * A client of Forebay for browsers and Node: one file, no dependencies. It speaks `forebay.v1`, reconnects by itself,
 * subscribes again, and tells exactly what was missed.
 *
 * ```js
 * import { connect } from "/forebay.js";
 * const client = connect();                                   // in Node: connect("ws://127.0.0.1:8080")
 * client.addEventListener("gap", ({ detail }) => console.log("missed", detail.missed, "of", detail.topic));
 * await client.subscribe("log", ({ seq, data }) => console.log(seq, data));
 * await client.publish("log", { hello: "world" });            // { seq, matched }
 * ```
 *
 * Where nothing may be lost while the connection is: `connect(url, { resume: true })` takes its session over after a reconnect.
 * Of topics that are at-least-once a message is acknowledged when its handler has finished:
 *
 * ```js
 * await client.subscribe("orders", async ({ data }) => { await store(data); }, { credit: 10 }); // at most 10 at a time
 * ```
 *
 * Node 22 and newer have a WebSocket; with an older one pass that of the package `ws`:
 * `connect(url, { WebSocket: (await import("ws")).WebSocket })`.
 * @module
 */

/**
 * @typedef {object} ConnectOptions
 * @property {number} [reconnectFirstMs] Bound of the first wait before a reconnect (250). Each further attempt doubles
 *   it; how long is waited is random, from 0 up to the bound.
 * @property {number} [reconnectMaxMs] Bound that doubling does not exceed (30,000).
 * @property {number} [stableMs] A connection that lasted so long starts the waits from the first again (5,000).
 * @property {number} [heartbeatMs] A server that is silent for so long is sent a ping; one that is silent for three
 *   times as long is given up (20,000).
 * @property {number} [publishMax] Publishes that may wait, to be sent or answered; one more is refused: `full` (1,024).
 * @property {number} [publishBytesMax] The same, in characters of their requests (16 Mi).
 * @property {number} [bufferedBytesMax] No publish is handed to the socket while it buffers more than this (1 MiB).
 * @property {boolean} [resume] Whether the session is kept while there is no connection, and resumed by the next one: then
 *   nothing is missed that the server could keep. When the session has ended, subscriptions start behind the last message
 *   that was dealt with, with what the topic's history still has. (false)
 * @property {any} [WebSocket] The class to connect with, where there is no global one or another is wanted.
 */
/**
 * @typedef {object} SubscribeOptions What is left out is as the server has it for this topic.
 * @property {"drop-oldest" | "drop-newest" | "latest-per-key" | "latest-only" | "disconnect"} [policy] What happens
 *   when a message does not fit what waits for this subscriber.
 * @property {number} [messagesMax] How many messages may wait.
 * @property {number} [bytesMax] How many bytes of payload may wait.
 * @property {"best-effort" | "at-least-once"} [delivery] `best-effort`: without acknowledgements, whatever the topic says;
 *   `at-least-once`: with them, or not at all.
 * @property {number} [credit] How many messages may be on their way or in handlers that have not finished.
 * @property {"latest" | "snapshot" | "start" | { history: number } | { epoch: string, seq: number }} [from] Which messages
 *   that were published before are wanted, too.
 */
/**
 * @typedef {object} Message
 * @property {string} topic
 * @property {number} seq Its number in the topic.
 * @property {any} [data] The payload, if it was JSON.
 * @property {Uint8Array} [bytes] The payload, if it was bytes.
 * @property {string} [key] The key it was published with.
 */
/**
 * @typedef {object} Gap Messages `from` to `to` of which `missed` will never come. All three are `null` for a `reset`.
 * @property {string} topic
 * @property {number | null} from
 * @property {number | null} to
 * @property {number | null} missed
 * @property {string[]} reasons The server's (`oldest`, `log_bound`, `overload`, ...), or `reconnect`: published while
 *   there was no connection; or `reset`: the topic numbers anew, nobody knows how many were missed. With `resume` the server tells all of
 *   these; its `reset` has numbers of the new numbering.
 */
/**
 * @typedef {object} ClientEvents What `event.detail` is, by the event's type.
 * @property {{ session: string, limits: Record<string, number> }} open The server said hello.
 * @property {{ code: number, reason: string, willReconnectInMs: number | null }} close A connection ended, or could not
 *   be made. `null`: for good, because of `client.close()` or a close code that says that coming back is useless.
 * @property {Gap} gap Messages were missed. It comes in order: before the first message behind `from`.
 * @property {{ topic: string, code: string }} ended The server ended a subscription, or refused it after a reconnect.
 * @property {ForebayError} error Something went wrong that is nobody's answer: for logs.
 */

/**
 * The close codes that say that this client is at fault: coming back would end the same way. 1008 is none of them: a
 * network that stops in the middle of a message is enough for it (`message_timeout`).
 */
const FINAL_CODES = [1002, 1003, 1007, 1010];
/** Somebody else has resumed the session: coming back would take it from them. */
const RESUMED_CODE = 4001;
/** A server that is silent for too long; 4000 to 4999 are the application's (RFC 6455 §7.4.2). */
const SILENT_CODE = 4000;
/** Numbers in one acknowledgement. */
const ACKS_MAX = 128;
/** How long until a full socket is looked at again: it does not say when there is room. */
const BUFFERED_POLL_MS = 20;

/**
 * What promises are rejected with. `code` is the server's (see the protocol), or one of this client: `full` (too many
 * publishes wait), `lost` (the client was closed before the answer: nobody knows whether it was carried out), `closed`
 * (the client is closed), `unsubscribed` (by `client.unsubscribe`, before the server had answered), `handler` (of the event
 * `error`: a handler's promise was rejected, with `cause`).
 */
export class ForebayError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.name = "ForebayError";
    /** For programs; the message is for people. */
    this.code = code;
  }
}

/**
 * Connects at once, and again whenever the connection is lost, until `client.close()`.
 * @param {string | URL} [url] `ws:`, `wss:`, `http:` or `https:`; by default the server that this file came from.
 * @param {ConnectOptions} [options]
 * @returns {Client}
 */
export function connect(url, options) {
  return new Client(url, options);
}

/** @typedef {{ op: string, id?: any, [member: string]: any }} Incoming A message from the server. */
/** @typedef {(answer: Incoming) => void} Settle Takes the answer, or the error `lost` when none can come. */
/**
 * @typedef {object} Publish
 * @property {number} id
 * @property {string} text The request.
 * @property {boolean} wasSent On some connection.
 * @property {Settle} settle
 */
/**
 * @typedef {object} Subscription
 * @property {Record<string, any>} members Of the request.
 * @property {(message: Message) => any} onMessage
 * @property {(position: { epoch: string, seq: number }) => void} resolve
 * @property {(error: Error) => void} reject
 * @property {string} [epoch] Of the last answer; none before the first.
 * @property {number} seen The last message received.
 * @property {number} paid The last message of the server's lane that took credit: what comes again takes none.
 * @property {number} told Every number up to here was received or told missed, but for the `owed`.
 * @property {number} owed How many inside told gaps were not missed and are still to come.
 * @property {boolean} isAtLeastOnce Whether the server wants acknowledgements.
 * @property {Map<number, { isRunning: boolean }>} open Messages that were handed on and are not dealt with: their handlers run,
 *   or have failed and the messages come again.
 * @property {number[]} acks Numbers that are to be acknowledged.
 * @property {number} grants How much credit is to be granted.
 * @property {boolean} isSettling It will be looked at whether something of these is to be sent.
 */
/**
 * @typedef {object} Topic
 * @property {Subscription} [wanted] The application's.
 * @property {Subscription} [lane] Whose lane the server has, on this connection.
 * @property {boolean} busy A request that changes the lane was not answered yet.
 */

/** Made by {@link connect}. */
export class Client extends EventTarget {
  #url;
  #options;
  /** @type {any} The WebSocket in use, open or not. */ #socket = null;
  /** @type {Incoming | null} What the server said first; `null` until it did. */ #hello = null;
  #isClosed = false;
  #openedAt = Infinity;
  #attempts = 0;
  #silentTicks = 0;
  /** @type {any} */ #reconnectTimer;
  /** @type {any} */ #heartbeatTimer;
  /** @type {any} */ #bufferedTimer;
  #lastId = 0;
  /** What message ids begin with. */ #messageIds = randomText();
  /** @type {string | null} What resumes the session, where that is wanted. */ #session = null;
  /** The answer to a resume is waited for: until then nobody knows which lanes there are. */ #isResuming = false;
  /** @type {Map<number, Settle>} What was sent and not answered. */ #unanswered = new Map();
  /** @type {Map<number, Publish>} Publishes that were sent on this connection and not answered. */ #sent = new Map();
  /** @type {Publish[]} Publishes that are to be sent. */ #queue = [];
  #publishes = 0;
  #publishBytes = 0;
  /** @type {Map<string, Topic>} */ #topics = new Map();

  /** @param {string | URL} [url] @param {ConnectOptions} [options] */
  constructor(url = "/", options = {}) {
    super();
    const {
      reconnectFirstMs = 250, reconnectMaxMs = 30_000, stableMs = 5_000, heartbeatMs = 20_000, publishMax = 1_024,
      publishBytesMax = 16 << 20, bufferedBytesMax = 1 << 20, resume = false, WebSocket = globalThis.WebSocket,
    } = options;
    this.#options = {
      reconnectFirstMs, reconnectMaxMs, stableMs, heartbeatMs, publishMax, publishBytesMax, bufferedBytesMax, resume,
      WebSocket,
    };
    if (!WebSocket) throw new TypeError("no WebSocket here: pass one in the options");
    this.#url = new URL(url, import.meta.url);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    this.#connect();
  }

  /**
   * Subscribes, now and after every reconnect. `onMessage` is called for one message at a time, in order; while it runs
   * nothing is read from the server, so a slow one meets the lane's policy. If it returns a promise, the next message does not
   * wait for that: what bounds how many run at a time is `credit`, and where the topic is at-least-once the server's window.
   *
   * At least once: a message is acknowledged when the handler has returned, or its promise is fulfilled. When it has thrown, or
   * its promise is rejected (event `error`), the message comes again. A message that comes again and was dealt with is
   * acknowledged again and not handed on.
   * @param {string} topic
   * @param {(message: Message) => any} onMessage
   * @param {SubscribeOptions} [options]
   * @returns {Promise<{ epoch: string, seq: number }>} Once the server has answered: what comes begins behind `seq`.
   */
  subscribe(topic, onMessage, { policy, messagesMax, bytesMax, delivery, credit, from } = {}) {
    return new Promise((resolve, reject) => {
      this.#refuseIfClosed();
      const entry = this.#topics.get(topic) ?? { busy: false };
      if (entry.wanted) throw new ForebayError("already-subscribed", `already subscribed to ${topic}`);
      const members = { topic, policy, messages_max: messagesMax, bytes_max: bytesMax, delivery, credit, from };
      entry.wanted = { ...nobody(), members, onMessage, resolve, reject };
      this.#topics.set(topic, entry);
      this.#reconcile(topic, entry);
    });
  }

  /**
   * Ends a subscription; nothing is delivered any more. Of a topic without one: does nothing.
   * @param {string} topic
   */
  unsubscribe(topic) {
    const entry = this.#topics.get(topic);
    if (!entry?.wanted) return;
    entry.wanted.reject(new ForebayError("unsubscribed", `unsubscribed from ${topic}`)); // unless it was answered
    entry.wanted = undefined;
    this.#reconcile(topic, entry);
  }

  /**
   * Publishes JSON, or bytes. Without a connection it waits for one. When the connection is lost before the answer, it is
   * sent again on the next one, with an id by which the server knows it: it is published once, as long as the topic remembers the
   * id (the last 1,024 of them, unless configured otherwise).
   * @param {string} topic
   * @param {any} data What `JSON.stringify` takes, or a Uint8Array, or other binary data.
   * @param {{ key?: string }} [options] `key`: what subscribers with the policy `latest-per-key` keep the latest of.
   * @returns {Promise<{ seq: number, matched: number, duplicate?: true }>} Once the server has it: its number, and for how
   *   many. `duplicate`: it had it from an earlier connection already.
   */
  publish(topic, data, { key } = {}) {
    return new Promise((resolve, reject) => {
      this.#refuseIfClosed();
      const id = ++this.#lastId;
      const members = { op: "publish", topic, key, message_id: `${this.#messageIds}-${id}`, id };
      const text = `${JSON.stringify(members).slice(0, -1)},${payload(data)}}`;
      const { publishMax, publishBytesMax } = this.#options;
      if (this.#publishes >= publishMax || this.#publishBytes + text.length > publishBytesMax) {
        throw new ForebayError("full", `${this.#publishes} publishes wait already`);
      }
      this.#publishes += 1;
      this.#publishBytes += text.length;
      const settle = (/** @type {Incoming} */ answer) => {
        this.#publishes -= 1;
        this.#publishBytes -= text.length;
        const { seq, matched, duplicate } = answer;
        if (answer.op === "ok") resolve(duplicate ? { seq, matched, duplicate } : { seq, matched });
        else reject(new ForebayError(answer.code, answer.message));
      };
      this.#queue.push({ id, text, wasSent: false, settle });
      this.#flush();
    });
  }

  /** Ends the connection and everything that waits. There is no way back: connect anew. */
  close() {
    if (this.#isClosed) return;
    this.#socket?.close(1000);
    this.#disconnected(1000, "closed by the application", true);
  }

  /**
   * @template {keyof ClientEvents} T
   * @param {T} type
   * @param {((event: Event & { detail: ClientEvents[T] }) => void) | EventListenerObject | null} listener
   * @param {boolean | AddEventListenerOptions} [options]
   */
  addEventListener(type, listener, options) {
    super.addEventListener(type, /** @type {any} */ (listener), options);
  }

  #refuseIfClosed() {
    if (this.#isClosed) throw new ForebayError("closed", "the client is closed");
  }

  /** @template {keyof ClientEvents} T @param {T} type @param {ClientEvents[T]} detail */
  #tell(type, detail) {
    this.dispatchEvent(Object.assign(new Event(type), { detail }));
  }

  #connect() {
    const socket = new this.#options.WebSocket(this.#url.href, "forebay.v1");
    this.#socket = socket;
    this.#silentTicks = 0;
    this.#heartbeatTimer = setInterval(() => this.#heartbeat(), this.#options.heartbeatMs);
    // What a socket says that was given up is of no interest.
    const on = (/** @type {string} */ type, /** @type {(event: any) => void} */ act) =>
      socket.addEventListener(type, (/** @type {any} */ event) => socket === this.#socket && act(event));
    on("message", (event) => this.#receive(event.data));
    on("error", (event) => {
      this.#tell("error", new ForebayError("connection", event.message || "the connection failed"));
      // It is the end, and "close" may not follow: Node's WebSocket leaves it out (nodejs/undici#3546).
      if (socket === this.#socket) this.#disconnected(1006, "", false);
    });
    on("close", ({ code, reason }) => {
      const isFinal = FINAL_CODES.includes(code) || (this.#options.resume && code === RESUMED_CODE);
      this.#disconnected(code, reason, isFinal);
    });
  }

  /** Browsers send no pings, and a connection whose network has gone ends only when something is sent. */
  #heartbeat() {
    this.#silentTicks += 1;
    if (this.#silentTicks === 1 && this.#hello) this.#request("ping", {}, () => {});
    if (this.#silentTicks < 3) return;
    this.#socket.close();
    this.#disconnected(SILENT_CODE, "the server is silent", false);
  }

  /** @param {number} code @param {string} reason @param {boolean} isFinal */
  #disconnected(code, reason, isFinal) {
    clearInterval(this.#heartbeatTimer);
    clearTimeout(this.#bufferedTimer);
    clearTimeout(this.#reconnectTimer);
    this.#bufferedTimer = undefined;
    this.#socket = this.#hello = null;
    this.#isClosed = isFinal;
    for (const entry of this.#topics.values()) Object.assign(entry, { lane: undefined, busy: false });
    this.#isResuming = false;
    const unanswered = [...this.#unanswered.values()];
    this.#unanswered.clear();
    this.#queue.unshift(...this.#sent.values());
    this.#sent.clear();
    const lost = { op: "error", code: "lost", message: "the connection ended before the answer" };
    for (const settle of unanswered) settle(lost);
    if (isFinal) {
      const closed = { op: "error", code: "closed", message: `the client is closed: ${reason || code}` };
      for (const { settle, wasSent } of this.#queue.splice(0)) settle(wasSent ? lost : closed);
      for (const { wanted } of this.#topics.values()) wanted?.reject(new ForebayError(closed.code, closed.message));
      this.#topics.clear();
      return this.#tell("close", { code, reason, willReconnectInMs: null });
    }
    const { reconnectFirstMs, reconnectMaxMs, stableMs } = this.#options;
    if (performance.now() - this.#openedAt >= stableMs) this.#attempts = 0;
    this.#openedAt = Infinity;
    // Random over the whole range: many clients that lost the same server do not come back at once.
    const willReconnectInMs = Math.random() * Math.min(reconnectMaxMs, reconnectFirstMs * 2 ** this.#attempts);
    this.#attempts += 1;
    this.#reconnectTimer = setTimeout(() => this.#connect(), willReconnectInMs);
    this.#tell("close", { code, reason, willReconnectInMs });
  }

  /** @param {string} op @param {object} members @param {Settle} settle */
  #request(op, members, settle) {
    const id = ++this.#lastId;
    this.#unanswered.set(id, settle);
    this.#socket.send(JSON.stringify({ op, ...members, id }));
  }

  /** Sends what waits, as long as the socket takes it. */
  #flush() {
    while (this.#queue.length > 0 && this.#hello && this.#socket.readyState === 1) {
      if (this.#socket.bufferedAmount > this.#options.bufferedBytesMax) {
        const again = () => ((this.#bufferedTimer = undefined), this.#flush());
        this.#bufferedTimer ??= setTimeout(again, BUFFERED_POLL_MS);
        return;
      }
      const publish = /** @type {Publish} */ (this.#queue.shift());
      const { id, text, settle } = publish;
      const bytesMax = this.#hello.limits?.message_bytes_max ?? Infinity;
      if (text.length * 3 > bytesMax && new TextEncoder().encode(text).length > bytesMax) {
        // The server would end the connection (1009), and everything else that is unanswered with it.
        settle({ op: "error", code: "too-large", message: `the request is longer than ${bytesMax} bytes` });
        continue;
      }
      publish.wasSent = true;
      this.#sent.set(id, publish);
      this.#socket.send(text);
    }
  }

  /** @param {string} text */
  #receive(text) {
    this.#silentTicks = 0;
    /** @type {Incoming | Incoming[]} */
    let said;
    try {
      said = JSON.parse(text);
    } catch {
      return this.#tell("error", new ForebayError("bad-message", "the server sent what is not JSON"));
    }
    const socket = this.#socket;
    // What is compressed may be several messages of a topic. One of their handlers may close the client.
    for (const incoming of Array.isArray(said) ? said : [said]) {
      if (socket === this.#socket) this.#take(incoming);
    }
  }

  /** @param {Incoming} incoming */
  #take(incoming) {
    const sent = this.#sent.get(incoming.id);
    const settle = sent?.settle ?? this.#unanswered.get(incoming.id);
    switch (incoming.op) {
      case "message": return this.#receiveMessage(incoming);
      case "gap": return this.#receiveGap(incoming);
      case "ended": return this.#receiveEnded(incoming);
      case "hello": return this.#receiveHello(incoming);
      case "ok": case "pong": case "error":
        // A server that drains ends the connection soon: the next one is asked again.
        if (sent && incoming.code === "draining") return;
        this.#unanswered.delete(incoming.id);
        this.#sent.delete(incoming.id);
        if (settle) settle(incoming);
        else if (incoming.op === "error") this.#tell("error", new ForebayError(incoming.code, incoming.message));
        this.#flush();
    }
  }

  /** @param {Incoming} hello */
  #receiveHello(hello) {
    this.#hello = hello;
    this.#openedAt = performance.now();
    if (this.#session !== null) this.#resume(this.#session);
    else if (this.#options.resume) this.#keep();
    for (const [topic, entry] of this.#topics) this.#reconcile(topic, entry);
    this.#tell("open", { session: hello.session, limits: hello.limits });
    this.#flush();
  }

  /** Asks the server to keep the session while there is no connection. */
  #keep() {
    this.#request("keep", {}, ({ op, code, message, session }) => {
      if (op === "ok") this.#session = session;
      else if (code !== "lost") this.#tell("error", new ForebayError(code, message));
    });
  }

  /** Takes the session over that the last connection had. @param {string} session */
  #resume(session) {
    const lanes = [];
    for (const [topic, { wanted }] of this.#topics) {
      const credit = wanted && creditOf(wanted);
      if (wanted?.epoch !== undefined) lanes.push({ topic, ...position(wanted), credit });
    }
    this.#isResuming = true;
    this.#request("resume", { session, lanes }, (answer) => {
      if (answer.code === "lost" || answer.code === "draining") return;
      this.#isResuming = false;
      if (answer.op === "ok") {
        this.#session = answer.session;
        for (const lane of answer.lanes) this.#resumed(lane);
      } else {
        this.#session = null;
        this.#keep();
      }
      for (const [topic, entry] of this.#topics) this.#reconcile(topic, entry);
    });
  }

  /** The session has this lane. @param {{ topic: string, epoch: string, delivery: string }} lane */
  #resumed({ topic, epoch, delivery }) {
    const entry = this.#topics.get(topic) ?? { busy: false };
    this.#topics.set(topic, entry);
    const { wanted } = entry;
    // One that nobody wants any more, or that begins anew, is ended.
    entry.lane = wanted?.epoch === epoch ? wanted : nobody();
    if (!wanted || entry.lane !== wanted) return;
    wanted.isAtLeastOnce = delivery === "at-least-once";
    this.#settle(topic, wanted);
  }

  /** @param {Incoming} incoming */
  #receiveMessage({ topic, seq, key, data, data64 }) {
    const subscription = this.#delivering(topic);
    if (!subscription) return;
    const { open } = subscription;
    const costs = seq > subscription.paid && subscription.members.credit !== undefined ? 1 : 0;
    subscription.paid = Math.max(subscription.paid, seq);
    if (seq > subscription.seen) this.#account(subscription, seq);
    else if (!open.has(seq)) return this.#settleLater(topic, subscription, costs, [seq]);
    else if (open.get(seq)?.isRunning) return this.#settleLater(topic, subscription, costs); // Acknowledged when it is dealt with.
    /** @type {Message} */
    const message = data64 === undefined ? { topic, seq, data } : { topic, seq, bytes: fromBase64(data64) };
    if (key !== undefined) message.key = key;
    open.set(seq, { isRunning: true });
    const finish = (/** @type {boolean} */ isGood) => this.#finish(topic, subscription, seq, isGood, costs);
    let result;
    try {
      result = subscription.onMessage(message);
    } catch (error) {
      queueMicrotask(() => { throw error; }); // uncaught, as in any listener, and without harm to the connection
      return finish(false);
    }
    if (typeof result?.then !== "function") return finish(true);
    Promise.resolve(result).then(
      () => finish(true),
      (cause) => {
        finish(false);
        const text = `the handler of ${topic} has failed with message ${seq}: ${cause?.message ?? cause}`;
        this.#tell("error", Object.assign(new ForebayError("handler", text), { cause }));
      },
    );
  }

  /**
   * A handler has finished.
   * @param {string} topic @param {Subscription} subscription @param {number} seq @param {boolean} isGood @param {number} costs
   */
  #finish(topic, subscription, seq, isGood, costs) {
    const { open, isAtLeastOnce } = subscription;
    const state = open.get(seq);
    if (!state) return; // The topic numbers anew.
    state.isRunning = false;
    if (isGood || !isAtLeastOnce) open.delete(seq);
    this.#settleLater(topic, subscription, costs, isGood ? [seq] : []);
  }

  /**
   * Acknowledges and grants when everything at hand was looked at.
   * @param {string} topic @param {Subscription} subscription @param {number} credit @param {number[]} seqs
   */
  #settleLater(topic, subscription, credit, seqs = []) {
    subscription.grants += credit;
    if (subscription.isAtLeastOnce) subscription.acks.push(...seqs);
    const { acks, grants, isSettling } = subscription;
    if (acks.length >= ACKS_MAX) return this.#settle(topic, subscription);
    if (isSettling || acks.length + grants === 0) return;
    subscription.isSettling = true;
    queueMicrotask(() => this.#settle(topic, subscription));
  }

  /** @param {string} topic @param {Subscription} subscription */
  #settle(topic, subscription) {
    const { acks, grants } = subscription;
    subscription.isSettling = false;
    // Without a lane it waits for the next one.
    if (!this.#hello || this.#socket.readyState !== 1 || this.#topics.get(topic)?.lane !== subscription) return;
    Object.assign(subscription, { acks: [], grants: 0 });
    while (acks.length > 0) this.#socket.send(JSON.stringify({ op: "ack", topic, seqs: acks.splice(0, ACKS_MAX) }));
    if (grants > 0) this.#socket.send(JSON.stringify({ op: "credit", topic, credit: grants }));
  }

  /** A message that did not come before. @param {Subscription} subscription @param {number} seq */
  #account(subscription, seq) {
    // A number that is skipped without a gap was superseded (`latest-*`): it is not missed, and not owed any more.
    subscription.owed = seq > subscription.told ? 0 : subscription.owed - 1;
    subscription.told = Math.max(subscription.told, seq);
    subscription.seen = seq;
  }

  /** @param {Incoming} incoming */
  #receiveGap({ topic, from, to, missed, reasons }) {
    const subscription = this.#delivering(topic);
    if (!subscription) return;
    if (reasons.includes("attempts")) {
      // What was sent was not owed; and what comes no more is not waited for.
      for (const [seq, { isRunning }] of subscription.open) {
        if (!isRunning && seq >= from && seq <= to) subscription.open.delete(seq);
      }
    } else {
      const told = Math.max(subscription.told, to);
      subscription.owed += told - subscription.told - missed;
      subscription.told = told;
    }
    this.#tell("gap", { topic, from, to, missed, reasons });
  }

  /** @param {Incoming} incoming */
  #receiveEnded({ topic, code }) {
    const entry = this.#topics.get(topic);
    if (!entry?.lane) return;
    const isWanted = entry.wanted === entry.lane;
    if (isWanted) entry.wanted = undefined;
    entry.lane = undefined;
    this.#reconcile(topic, entry);
    // Last: whoever is told may subscribe again at once.
    if (isWanted) this.#tell("ended", { topic, code });
  }

  /** The subscription that messages of a topic are for, if the application still wants it. @param {string} topic */
  #delivering(topic) {
    const entry = this.#topics.get(topic);
    return entry?.lane === entry?.wanted ? entry?.lane : undefined;
  }

  /** Makes the server's lane what the application wants, one request at a time. @param {string} topic @param {Topic} entry */
  #reconcile(topic, entry) {
    const { wanted, lane } = entry;
    if (!wanted && !lane && !entry.busy) this.#topics.delete(topic);
    if (!this.#hello || this.#isResuming || entry.busy || wanted === lane) return;
    entry.busy = true;
    if (lane) {
      // Also when it is refused there is no lane: the server has ended it by itself.
      this.#request("unsubscribe", { topic }, ({ code }) => {
        if (code === "lost") return;
        entry.lane = undefined;
        entry.busy = false;
        this.#reconcile(topic, entry);
      });
    } else if (wanted) {
      const credit = creditOf(wanted);
      const { from, ...members } = wanted.members;
      // The first time where the application wants it, then where the last connection left off.
      const isFirst = wanted.epoch === undefined;
      const start = isFirst ? from : this.#options.resume ? position(wanted) : undefined;
      this.#request("subscribe", { ...members, credit, from: start }, (answer) => {
        // A server that drains ends the connection soon: the next one is asked again.
        if (answer.code === "lost" || answer.code === "draining") return;
        entry.busy = false;
        const isRefused = answer.op !== "ok" && entry.wanted === wanted;
        if (answer.op === "ok") this.#subscribed(topic, entry, wanted, answer);
        else if (isRefused) {
          entry.wanted = undefined;
          wanted.reject(new ForebayError(answer.code, answer.message));
        }
        this.#reconcile(topic, entry);
        // Last: whoever is told may subscribe again at once.
        if (isRefused && wanted.epoch !== undefined) this.#tell("ended", { topic, code: answer.code });
      });
    }
  }

  /** @param {string} topic @param {Topic} entry @param {Subscription} subscription @param {Incoming} answer */
  #subscribed(topic, entry, subscription, { epoch, seq, delivery }) {
    const before = { ...subscription };
    entry.lane = subscription;
    subscription.isAtLeastOnce = delivery === "at-least-once";
    const isContinued = this.#options.resume && before.epoch === epoch;
    if (!isContinued) Object.assign(subscription, { epoch, seen: seq, told: seq, owed: 0, open: new Map() });
    subscription.paid = seq;
    this.#settle(topic, subscription);
    if (entry.wanted !== subscription) return;
    if (before.epoch === undefined) return subscription.resolve({ epoch, seq });
    if (this.#options.resume) return; // The server tells what is missed.
    if (before.epoch !== epoch) {
      return this.#tell("gap", { topic, from: null, to: null, missed: null, reasons: ["reset"] });
    }
    const missed = seq - before.told + before.owed;
    const from = (before.owed > 0 ? before.seen : before.told) + 1;
    if (missed > 0) this.#tell("gap", { topic, from, to: seq, missed, reasons: ["reconnect"] });
  }
}

/**
 * Behind which message a subscription goes on. At least once: the last one up to which all were dealt with, the others come
 * again. Otherwise the last one received.
 * @param {Subscription} subscription
 */
function position({ epoch, seen, open, isAtLeastOnce }) {
  let seq = seen;
  if (isAtLeastOnce) for (const one of open.keys()) seq = Math.min(seq, one - 1);
  return { epoch, seq };
}

/** What a new lane may send: what is in handlers takes its place. @param {Subscription} subscription */
function creditOf(subscription) {
  const { members: { credit }, open } = subscription;
  Object.assign(subscription, { acks: [], grants: 0 }); // With this, and with the position, they are said.
  if (credit === undefined) return undefined;
  let running = 0;
  for (const { isRunning } of open.values()) running += Number(isRunning);
  return Math.max(0, credit - running);
}

/** A subscription that nobody wants. @returns {Subscription} */
function nobody() {
  const nothing = () => {};
  return {
    members: {}, onMessage: nothing, resolve: nothing, reject: nothing, seen: 0, paid: 0, told: 0, owed: 0, isAtLeastOnce: false,
    open: new Map(), acks: [], grants: 0, isSettling: false,
  };
}

/** 128 random bits. */
function randomText() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A payload as a member of a request. @param {any} data */
function payload(data) {
  if (data instanceof ArrayBuffer) return `"data64":"${toBase64(new Uint8Array(data))}"`;
  if (ArrayBuffer.isView(data)) {
    return `"data64":"${toBase64(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))}"`;
  }
  const json = JSON.stringify(data);
  if (json === undefined) throw new TypeError("data must be JSON or bytes");
  return `"data":${json}`;
}

/** @param {Uint8Array} bytes */
function toBase64(bytes) {
  let text = "";
  // In parts: the number of arguments of a call is bounded.
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

/** @param {string} text */
function fromBase64(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}
