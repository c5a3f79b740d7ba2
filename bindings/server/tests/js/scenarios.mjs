// What the client must do, the same in Node and in browsers. `run` is given the module under test and a way to ask the
// harness for things that happen outside: servers that die, networks that break. Nothing here measures time: waiting ends
// when what is waited for is there, or fails when it surely will not come.

import { SESSIONS } from "./sessions.mjs";
import { HANG_MS, HELLO, World, ascends, code, equal, ok, range, sum, within } from "./world.mjs";

const RANDOM = Math.random;

/** @returns {Promise<{ name: string, failure?: string }[]>} */
export async function run(environment) {
  const results = [];
  for (const [name, scenario] of Object.entries(SCENARIOS)) {
    const world = new World(environment);
    try {
      await world.prepare();
      await within(scenario(world), "the scenario", 2 * HANG_MS);
      results.push({ name });
    } catch (error) {
      results.push({ name, failure: `${error?.stack ?? error}` });
    }
    for (const client of world.clients) client.close();
    Math.random = RANDOM;
  }
  return results;
}

const SCENARIOS = {
  async "published is received, in order, and acknowledged"(world) {
    const [reader, writer] = [world.connect(), world.connect()];
    const { received, epoch, seq } = await world.subscribe(reader, "kept");
    ok(typeof epoch === "string" && epoch.length > 0, "an epoch");
    const values = [null, 0, "", "text \u0000 \u{1f680} \ud800", [1, [2]], { a: { b: "\"\\" } }, true, ...range(1, 93)];
    const answers = await Promise.all(values.map((value) => writer.publish("kept", value)));
    equal(answers, values.map((_, at) => ({ seq: seq + 1 + at, matched: 1 })), "answers");
    await world.until(reader, "all messages", () => received.length === values.length);
    equal(received, values.map((data, at) => ({ topic: "kept", seq: seq + 1 + at, data })), "messages");
    equal([reader.told.gap, reader.told.close, reader.told.error, reader.told.open.length], [[], [], [], 1]);
    equal(reader.told.open[0].limits.message_bytes_max, 1 << 20);
    ok(/^[0-9a-f]{48}$/.test(reader.told.open[0].session), "a session");
  },

  async "bytes stay bytes"(world) {
    const client = world.connect();
    const { received } = await world.subscribe(client, "kept");
    const all = Uint8Array.from(range(0, 99_999), (number) => number);
    const payloads = [all, new Uint8Array(), all.subarray(250, 257), all.slice(3, 5).buffer, new DataView(all.buffer, 1, 3)];
    await Promise.all(payloads.map((bytes) => client.publish("kept", bytes)));
    await world.until(client, "all messages", () => received.length === payloads.length);
    const expected = [[...all], [], [250, 251, 252, 253, 254, 255, 0], [3, 4], [1, 2, 3]];
    received.forEach(({ bytes, data }, at) => {
      ok(bytes instanceof Uint8Array && data === undefined, `bytes ${at}`);
      equal([...bytes], expected[at], `bytes ${at}`);
    });
  },

  async "a refusal has the server's code, and the connection stays"(world) {
    const client = world.connect();
    const nothing = () => {};
    equal(await code(client.publish("nobody", 1)), "unknown-topic");
    equal(await code(client.publish("", 1)), "bad-topic");
    equal(await code(client.publish("kept", "x".repeat(300 << 10))), "too-large", "of the topic");
    equal(await code(client.publish("kept", "\u00fc".repeat(700 << 10))), "too-large", "of the server");
    equal(await code(client.publish("kept", undefined)), "TypeError");
    equal(await code(client.publish("kept", 1n)), "TypeError");
    equal(await code(client.subscribe("nobody", nothing)), "unknown-topic");
    equal(await code(client.subscribe("fixed", nothing, { policy: "latest-only" })), "policy-not-allowed");
    for (const policy of ["block", "latest", ""]) {
      equal(await code(client.subscribe("keyed", nothing, { policy })), "policy-not-allowed", policy);
    }
    for (const limits of [{ messagesMax: 0 }, { messagesMax: 101 }, { bytesMax: 1_000 }, { bytesMax: 1 << 30 }]) {
      equal(await code(client.subscribe("keyed", nothing, limits)), "bad-limits", JSON.stringify(limits));
    }
    equal(await code(client.subscribe("keyed", nothing, { policy: "latest-per-key", messagesMax: 19 })), "bad-limits");
    equal(await code(client.subscribe("keyed", nothing, { messagesMax: 1.5 })), "bad-message");
    for (const key of ["k".repeat(257), "\u{fc}".repeat(129), "\n"]) {
      equal(await code(client.publish("keyed", 1, { key })), "bad-key", key);
    }
    equal(await code(client.publish("keyed", 1, { key: 1 })), "bad-message");
    await client.subscribe("fixed", nothing, { policy: "drop-oldest", messagesMax: 1 });
    await client.subscribe("keyed", nothing, { policy: "latest-per-key", messagesMax: 20 });
    await client.subscribe("kept", nothing);
    equal(await code(client.subscribe("kept", nothing)), "already-subscribed");
    const pending = code(client.subscribe("other", nothing));
    client.unsubscribe("other");
    equal(await pending, "unsubscribed");
    equal((await client.publish("kept", 1)).matched, 1);
    equal((await client.publish("other", 1)).matched, 0);
    equal([client.told.open.length, client.told.close, client.told.error, client.told.ended], [1, [], [], []]);
    client.close();
    client.close();
    equal(client.told.close, [{ code: 1000, reason: "closed by the application", willReconnectInMs: null }]);
    equal(await code(client.publish("kept", 1)), "closed");
    equal(await code(client.subscribe("kept", nothing)), "closed");
  },

  async "subscriptions end and begin anew"(world) {
    const client = world.connect();
    const first = await world.subscribe(client, "kept");
    await client.publish("kept", "first");
    await world.until(client, "a message", () => first.received.length === 1);
    client.unsubscribe("kept");
    client.unsubscribe("kept");
    const second = world.subscribe(client, "kept", { messagesMax: 10, bytesMax: 1 << 20 });
    client.unsubscribe("kept");
    equal(await code(second), "unsubscribed");
    const third = await world.subscribe(client, "kept");
    await client.publish("kept", "third");
    await world.until(client, "a message", () => third.received.length === 1);
    equal([first.received.length, third.seq, third.received[0].data], [1, first.seq + 1, "third"]);
    client.unsubscribe("kept");
    equal((await client.publish("kept", "nobody")).matched, 0);
  },

  async "a consumer that is busy is told what it missed"(world) {
    const count = 20_000;
    const client = world.connect();
    const { received, seq } = await world.subscribe(client, "small", { policy: "drop-oldest" });
    world.controlBlocking(`flood?topic=small&count=${count}&bytes=2000`);
    await world.until(client, "received + missed = published", () => received.length + sum(client.told.gap) >= count);
    equal(received.length + sum(client.told.gap), count);
    const numbers = received.map((message) => message.seq);
    ok(ascends(numbers), "in order");
    ok(sum(client.told.gap) > 0, "something was missed");
    ok(client.told.gap.every(({ topic, reasons }) => topic === "small" && reasons.join() === "oldest"), "oldest");
    ok(received.every((message) => message.seq === seq + 1 + message.data[0]), "each with its number");
    equal([client.told.close, client.told.error], [[], []]);
  },

  async "a consumer that is busy gets the latest message of each key"(world) {
    const [count, keys] = [5_000, 20];
    const client = world.connect();
    const { received, seq } = await world.subscribe(client, "keyed", { policy: "latest-per-key" });
    world.controlBlocking(`flood?topic=keyed&count=${count}&bytes=8000&keys=${keys}`);
    await world.until(client, "the last message", () => received.at(-1)?.seq === seq + count);
    ok(received.length < count && ascends(received.map((message) => message.seq)), "some were superseded");
    const latest = new Map(received.map((message) => [message.key, message.seq]));
    equal([...latest.values()].sort((one, other) => one - other), range(seq + count - keys + 1, seq + count));
    ok(received.every(({ key, data }) => key === data[2]), "each with its key");
    // Without a key there is none; the empty one is none as well.
    await client.publish("keyed", "none");
    await client.publish("keyed", "empty", { key: "" });
    await client.publish("keyed", "one", { key: "\u{1f511}" });
    await world.until(client, "three messages", () => received.at(-1)?.data === "one");
    equal(received.slice(-3).map((message) => ["key" in message, message.key]), [
      [false, undefined], [false, undefined], [true, "\u{1f511}"],
    ]);
    equal([client.told.gap, client.told.close, client.told.error], [[], [], []]);
  },

  async "a consumer that is busy gets the latest message"(world) {
    const count = 5_000;
    const client = world.connect();
    const { received, seq } = await world.subscribe(client, "keyed", { policy: "latest-only", messagesMax: 20 });
    world.controlBlocking(`flood?topic=keyed&count=${count}&bytes=8000&keys=20`);
    await world.until(client, "the last message", () => received.at(-1)?.seq === seq + count);
    ok(received.length < count && ascends(received.map((message) => message.seq)), "some were superseded");
    equal([client.told.gap, client.told.close, client.told.error], [[], [], []]);
  },

  async "a subscription that overflows ends, and may begin anew"(world) {
    const count = 5_000;
    const client = world.connect();
    const first = await world.subscribe(client, "ends");
    const again = new Promise((resolve) => {
      client.addEventListener("ended", () => resolve(world.subscribe(client, "ends")), { once: true });
    });
    world.controlBlocking(`flood?topic=ends&count=${count}&bytes=8000`);
    const { received, seq, epoch } = await again;
    equal(client.told.ended, [{ topic: "ends", code: "overflow" }]);
    equal([seq, epoch], [first.seq + count, first.epoch]);
    // Those that it had not yet got are not counted for it: it has ended.
    ok(first.received.length < count, "some were not delivered");
    equal(first.received.map((message) => message.seq), range(first.seq + 1, first.seq + first.received.length));
    equal(await client.publish("ends", "more"), { seq: seq + 1, matched: 1 });
    await world.until(client, "a message", () => received.length === 1);
    equal([client.told.open.length, client.told.gap, client.told.close, client.told.error], [1, [], [], []]);
  },

  async "a connection that overflows is closed, comes back and is told what it missed"(world) {
    const count = 5_000;
    const client = world.connect();
    const { received, seq } = await world.subscribe(client, "closes");
    await world.subscribe(client, "kept");
    world.controlBlocking(`flood?topic=closes&count=${count}&bytes=8000`);
    await world.until(client, "received + missed = published", () => received.length + sum(client.told.gap) >= count);
    equal(client.told.close.map(({ code, reason }) => [code, reason]), [[1013, "lane full"]]);
    equal(received.map((message) => message.seq), range(seq + 1, seq + received.length));
    const gap = { from: seq + received.length + 1, to: seq + count, missed: count - received.length };
    equal(client.told.gap, [{ topic: "closes", ...gap, reasons: ["reconnect"] }]);
    equal((await client.publish("closes", "after")).matched, 1);
    equal((await client.publish("kept", "after")).matched, 1);
    equal([client.told.open.length, client.told.ended, client.told.error], [2, [], []]);
  },

  async "a network that breaks costs exactly what was published meanwhile"(world) {
    const client = world.connect(world.urls.proxied);
    const { received, seq } = await world.subscribe(client, "kept");
    await client.publish("kept", "before");
    await world.until(client, "a message", () => received.length === 1);
    await world.control("cut");
    await world.until(client, "the end and a failed attempt", () => client.told.close.length >= 2);
    await world.control("flood?topic=kept&count=7");
    equal(client.told.gap, []);
    await world.control("open");
    await world.until(client, "the gap", () => client.told.gap.length > 0);
    const gap = { topic: "kept", from: seq + 2, to: seq + 8, missed: 7, reasons: ["reconnect"] };
    equal(client.told.gap, [gap]);
    equal(await client.publish("kept", "after"), { seq: seq + 9, matched: 1 });
    await world.until(client, "a message", () => received.length === 2);
    equal(received.map((message) => [message.seq, message.data]), [[seq + 1, "before"], [seq + 9, "after"]]);
    // Nothing published meanwhile, nothing to tell.
    await world.control("cut");
    await world.control("open");
    await world.until(client, "a third connection", () => client.told.open.length === 3);
    await client.publish("kept", "last");
    await world.until(client, "a message", () => received.length === 3);
    equal([client.told.gap, received[2].seq], [[gap], seq + 10]);
    ok(client.told.close.every(({ willReconnectInMs }) => willReconnectInMs >= 0 && willReconnectInMs <= 200), "waits");
  },

  async "a connection cut in the middle of a stream adds up"(world) {
    // Fewer bytes than a lane holds: nothing is lost but for the cut.
    const count = 1_500;
    const client = world.connect(world.urls.proxied);
    const { received, seq } = await world.subscribe(client, "kept");
    await world.control("cutAfter?bytes=200000");
    await world.control(`flood?topic=kept&count=${count}&bytes=500`);
    await world.until(client, "the end", () => client.told.close.length > 0);
    await world.control("open");
    await world.until(client, "received + missed = published", () => received.length + sum(client.told.gap) >= count);
    equal(received.length + sum(client.told.gap), count);
    ok(received.length > 0, "something was received");
    const { to, reasons } = client.told.gap.at(-1);
    equal([to, reasons], [seq + count, ["reconnect"]]);
    equal([...received.map((message) => message.seq), ...client.told.gap.flatMap((gap) => range(gap.from, gap.to))], range(seq + 1, seq + count));
  },

  async "a server that starts anew numbers anew, and waits grow until then"(world) {
    const waits = (client, from) => client.told.close.slice(from, from + 6).map(({ willReconnectInMs }) => willReconnectInMs);
    const bounds = { reconnectFirstMs: 10, reconnectMaxMs: 60 };
    const client = world.connect(undefined, { ...bounds, stableMs: 0 });
    const unstable = world.connect(undefined, { ...bounds, stableMs: 3_600_000 });
    const { received, epoch } = await world.subscribe(client, "kept");
    await client.publish("kept", "before");
    await world.until(client, "a message", () => received.length === 1);
    await world.until(unstable, "the connection", () => unstable.told.open.length === 1);
    world.random(0.5);
    await world.control("kill");
    for (const one of [client, unstable]) {
      await world.until(one, "failed attempts", () => one.told.close.length >= 6);
      equal(waits(one, 0), [5, 10, 20, 30, 30, 30], "half of the bounds");
    }
    equal(client.told.gap, []);
    await world.control("start");
    await world.until(client, "the gap", () => client.told.gap.length > 0);
    equal(client.told.gap, [{ topic: "kept", from: null, to: null, missed: null, reasons: ["reset"] }]);
    equal(client.sockets.length, client.told.close.length + 1, "each ended once");
    equal(await client.publish("kept", "after"), { seq: 1, matched: 1 });
    await world.until(client, "a message", () => received.length === 2);
    equal(received.map(({ data }) => data), ["before", "after"]);
    client.unsubscribe("kept");
    const again = await client.subscribe("kept", () => {});
    ok(again.seq === 1 && again.epoch !== epoch, "another epoch");

    await world.until(unstable, "the connection", () => unstable.told.open.length === 2);
    const [failed, failedUnstable] = [client.told.close.length, unstable.told.close.length];
    await world.control("kill");
    await world.until(client, "failed attempts", () => client.told.close.length >= failed + 6);
    await world.until(unstable, "failed attempts", () => unstable.told.close.length >= failedUnstable + 6);
    equal(waits(client, failed), [5, 10, 20, 30, 30, 30], "from the first again");
    equal(waits(unstable, failedUnstable), [30, 30, 30, 30, 30, 30], "as before");
    world.random(0);
    await world.until(client, "an attempt at once", () => client.told.close.at(-1).willReconnectInMs === 0);
    await world.control("start");
  },

  async "what waits to be published is bounded"(world) {
    await world.control("cut");
    const client = world.connect(world.urls.proxied, { publishMax: 10, publishBytesMax: 1_000 });
    const waiting = range(1, 10).map((number) => client.publish("other", number));
    equal(await code(client.publish("other", 11)), "full");
    const [gone, large] = [world.connect(world.urls.proxied), world.connect(world.urls.proxied, { publishBytesMax: 1_000 })];
    equal(await code(large.publish("other", "x".repeat(1_000))), "full");
    const closed = code(gone.publish("other", 1));
    const subscribing = code(gone.subscribe("other", () => {}));
    gone.close();
    equal([await closed, await subscribing], ["closed", "closed"]);
    await world.control("open");
    const answers = await Promise.all(waiting);
    equal(answers.map(({ seq }) => seq), range(answers[0].seq, answers[0].seq + 9));
    // Room again.
    equal((await client.publish("other", 11)).seq, answers[9].seq + 1);
  },

  async "a socket is not handed more than it should buffer"(world) {
    const client = world.connect(undefined, { publishMax: 400, publishBytesMax: 1 << 30, bufferedBytesMax: 300_000 });
    const payload = "x".repeat(100_000);
    await client.publish("other", 0);
    await world.control("signal?name=SIGSTOP");
    const [socket] = client.sockets;
    let most = 0;
    const publishes = range(1, 400).map((number) => {
      const publish = client.publish("other", payload + number);
      most = Math.max(most, socket.bufferedAmount);
      return publish;
    });
    ok(most > 300_000 && most < 300_000 + 101_000, `buffered ${most}`);
    ok(socket.sent.length < 400, "some were kept back");
    await world.control("signal?name=SIGCONT");
    const answers = await Promise.all(publishes);
    equal(answers.map(({ seq }) => seq), range(answers[0].seq, answers[0].seq + 399));
    equal(client.told.close, []);
  },

  async "a connection that is silent is given up, one that only has nothing to say is not"(world) {
    const dead = world.connect(world.urls.proxied, { heartbeatMs: 200 });
    await world.until(dead, "the connection", () => dead.told.open.length === 1);
    await world.control("freeze");
    await world.until(dead, "the end", () => dead.told.close.length > 0);
    const [{ code, reason }] = dead.told.close;
    equal([code, reason], [4000, "the server is silent"]);
    await world.until(dead, "another connection", () => dead.told.open.length >= 2);
    dead.close();

    const quiet = world.connect(undefined, { heartbeatMs: 1_000 });
    const { received } = await world.subscribe(quiet, "kept");
    const pings = () => quiet.sockets[0].sent.filter((text) => text.includes('"ping"')).length;
    quiet.sockets[0].addEventListener("message", () => quiet.wake?.());
    await world.until(quiet, "pings answered", () => pings() >= 3);
    equal([quiet.told.close, received], [[], []]);
  },

  async "the default URL is where the module came from"(world) {
    let thrown = null;
    try {
      const client = world.connect(null);
      equal((await client.publish("kept", 1)).matched, 0);
    } catch (error) {
      thrown = error.name;
    }
    equal(thrown, world.isBrowser ? null : "SyntaxError", "from a file there is no server");
  },

  async "a listener that throws harms nobody else"(world) {
    const client = world.connect();
    const seen = [];
    const uncaught = world.uncaught();
    await client.subscribe("kept", ({ data }) => {
      seen.push(data);
      client.wake?.();
      if (data === 1) throw new Error("of the application");
    });
    equal((await Promise.all([client.publish("kept", 1), client.publish("kept", 2)])).map(({ matched }) => matched), [1, 1]);
    await world.until(client, "both messages", () => seen.length === 2);
    equal((await uncaught).message, "of the application");
    equal([client.told.close, client.told.error], [[], []]);
  },

  async "a close code that says stay away is obeyed"(world) {
    // Without sessions 4001 is the application's.
    for (const [code, resume] of [[1002, false], [1003, false], [1007, false], [1010, false], [4001, true]]) {
      await world.control("script", JSON.stringify([{ texts: [HELLO], code }]));
      const client = world.connect(world.urls.scripted, { resume });
      await world.until(client, "the end", () => client.told.close.length > 0);
      equal(client.told.close, [{ code, reason: "", willReconnectInMs: null }]);
      const refused = await client.publish("t", 1).catch((error) => error);
      equal([refused.code, refused instanceof Error], ["closed", true]);
      equal(client.sockets.length, 1);
    }
  },

  async "after any other close the client comes back"(world) {
    // 1008 is what a server says whose client's network stopped in the middle of a message.
    const codes = [1000, 1001, 1008, 1009, 1011, 1013, 4001];
    await world.control("script", JSON.stringify([...codes.map((code) => ({ texts: [HELLO], code })), { texts: [HELLO] }]));
    const client = world.connect(world.urls.scripted);
    await world.until(client, "the last connection", () => client.told.open.length === codes.length + 1);
    equal(client.told.close.map(({ code }) => code), codes);
  },

  async "nothing is delivered behind an unsubscribe"(world) {
    const message = (seq) => JSON.stringify({ op: "message", topic: "t", seq, data: seq });
    const gap = JSON.stringify({ op: "gap", topic: "t", from: 3, to: 3, missed: 1, reasons: ["oldest"] });
    const answer = JSON.stringify({ op: "ok", id: 1, topic: "t", epoch: "e", seq: 0 });
    const last = JSON.stringify({ op: "error", code: "last", message: "" });
    await world.control("script", JSON.stringify([{ texts: [HELLO, answer, message(1), message(2), gap, last] }]));
    const client = world.connect(world.urls.scripted);
    const seen = [];
    await client.subscribe("t", ({ seq }) => {
      seen.push(seq);
      client.unsubscribe("t");
    });
    await world.until(client, "the end of the script", () => client.told.error.length === 1);
    equal([seen, client.told.gap], [[1], []]);
  },

  async "whoever subscribes again when a subscription has ended is answered"(world) {
    const answer = (id, seq) => JSON.stringify({ op: "ok", id, topic: "t", epoch: "e", seq });
    const message = (seq) => JSON.stringify({ op: "message", topic: "t", seq, data: seq });
    const scripts = [
      { texts: [HELLO, answer(1, 0), message(1)], code: 1001 },
      // Refused after the reconnect, taken when asked again, ended, taken again.
      {
        texts: [
          HELLO, JSON.stringify({ op: "error", code: "topics-full", message: "?", id: 2 }), answer(3, 5), message(6),
          JSON.stringify({ op: "ended", topic: "t", code: "removed" }), answer(4, 7), message(8),
        ],
      },
    ];
    await world.control("script", JSON.stringify(scripts));
    const client = world.connect(world.urls.scripted);
    const seen = [];
    const subscribe = () => client.subscribe("t", ({ seq }) => (seen.push(seq), client.wake?.()));
    const positions = [];
    client.addEventListener("ended", () => positions.push(subscribe()));
    positions.unshift(subscribe());
    await world.until(client, "all messages", () => seen.length === 3);
    equal(seen, [1, 6, 8]);
    equal((await Promise.all(positions)).map(({ seq }) => seq), [0, 5, 7]);
    equal(client.told.ended.map(({ code }) => code), ["topics-full", "removed"]);
    equal([client.sockets.length, client.sockets[1].sent.length], [2, 3], "no request more than it needs");
  },

  ...SESSIONS,

  async "merged gaps add up over a reconnect, and what is unknown is ignored"(world) {
    const message = (seq, more) => JSON.stringify({ op: "message", topic: "t", seq, data: seq, new: 1, ...more });
    const scripts = [
      {
        texts: [
          HELLO,
          JSON.stringify({ op: "later", topic: "t" }),
          JSON.stringify({ op: "ok", id: 1, topic: "t", epoch: "e", seq: 4, new: [] }),
          message(5),
          // 6 to 12, of which 8, 9 and 11 are still to come: only 8 does.
          JSON.stringify({ op: "gap", topic: "t", from: 6, to: 12, missed: 4, reasons: ["newest"] }),
          message(8, { key: "k" }),
        ],
        code: 1001,
      },
      {
        texts: [
          HELLO,
          JSON.stringify({ op: "ok", id: 2, topic: "t", epoch: "e", seq: 20 }),
          message(21),
          // 22 to 24 were superseded, as was the rest of the gap.
          message(25),
          JSON.stringify({ op: "gap", topic: "t", from: 26, to: 28, missed: 2, reasons: ["oldest"] }),
          message(30),
        ],
        code: 1001,
      },
      // A server that drains is asked again at the next connection.
      { texts: [HELLO, JSON.stringify({ op: "error", code: "draining", message: "later", id: 3 })], code: 1001 },
      {
        texts: [
          HELLO,
          JSON.stringify({ op: "ok", id: 4, topic: "t", epoch: "e", seq: 33 }),
          message(34),
          JSON.stringify({ op: "ended", topic: "t", code: "overflow" }),
          message(35),
          JSON.stringify({ op: "error", code: "bad-message", message: "?" }),
          "[",
        ],
      },
    ];
    await world.control("script", JSON.stringify(scripts));
    const client = world.connect(world.urls.scripted);
    const { received, epoch, seq } = await world.subscribe(client, "t");
    equal([epoch, seq], ["e", 4]);
    await world.until(client, "the end of the script", () => client.told.error.length === 2);
    equal(received.map(({ seq, data, key }) => [seq, data, key]), [
      [5, 5, undefined], [8, 8, "k"], [21, 21, undefined], [25, 25, undefined], [30, 30, undefined], [34, 34, undefined],
    ]);
    equal(Object.keys(received[0]), ["topic", "seq", "data"]);
    equal(client.told.gap, [
      { topic: "t", from: 6, to: 12, missed: 4, reasons: ["newest"] },
      { topic: "t", from: 9, to: 20, missed: 10, reasons: ["reconnect"] },
      { topic: "t", from: 26, to: 28, missed: 2, reasons: ["oldest"] },
      { topic: "t", from: 31, to: 33, missed: 3, reasons: ["reconnect"] },
    ]);
    equal(client.told.ended, [{ topic: "t", code: "overflow" }]);
    equal(client.told.error.map(({ code, message }) => [code, message]), [
      ["bad-message", "?"], ["bad-message", "the server sent what is not JSON"],
    ]);
    equal(client.told.close.map(({ code }) => code), [1001, 1001, 1001]);
  },
};
