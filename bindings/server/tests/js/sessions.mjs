// What the client must do about sessions, acknowledgements, credit and what is to be repeated.

import { HELLO, code, equal, ok, range } from "./world.mjs";

export const SESSIONS = {
  async "an unanswered publish is sent again, in order and before an unsent one"(world) {
    const client = world.connect();
    const { received } = await world.subscribe(client, "kept");
    await world.control("signal?name=SIGSTOP");
    const sent = range(1, 10).map((number) => client.publish("kept", number));
    await world.control("kill");
    await world.until(client, "the end", () => client.told.close.length > 0);
    const unsent = range(11, 15).map((number) => client.publish("kept", number));
    await world.control("start");
    // The server is a new one: it knows nothing of the first time.
    equal(await Promise.all([...sent, ...unsent]), range(1, 15).map((seq) => ({ seq, matched: 1 })));
    await world.until(client, "messages", () => received.length === 15);
    equal(received.map(({ seq, data }) => [seq, data]), range(1, 15).map((seq) => [seq, seq]));
    const [first, second] = client.sockets
      .map(({ sent }) => sent.map((text) => JSON.parse(text)).filter(({ op }) => op === "publish"))
      .filter((publishes) => publishes.length > 0)
      .map((publishes) => publishes.map(({ message_id }) => message_id));
    equal([first.length, second.length, second.slice(0, 10)], [10, 15, first]);
    equal(new Set(second).size, 15);
    ok(second.every((id) => /^[0-9a-f]{32}-\d+$/.test(id)), "nobody guesses them");
    await world.control("signal?name=SIGSTOP");
    const lost = code(client.publish("kept", 16));
    client.close();
    equal(await lost, "lost");
    await world.control("kill");
    await world.control("start");
  },

  async "a publish whose answer was lost is published once"(world) {
    const [reader, client] = [world.connect(), world.connect(world.urls.proxied)];
    const { received, seq } = await world.subscribe(reader, "kept");
    await client.publish("kept", 0);
    await world.control("freeze"); // Answers do not come; what is sent before does.
    const all = range(1, 5).map((number) => client.publish("kept", number));
    await world.control("cut");
    await world.control("open");
    const answers = await Promise.all(all);
    equal(answers.map((answer) => answer.seq), range(seq + 2, seq + 6));
    await world.until(reader, "messages", () => received.length === 6);
    await reader.publish("kept", 6);
    await world.until(reader, "the last", () => received.length === 7);
    equal(received.map(({ data }) => data), range(0, 6));
  },

  async "a session goes on after a reconnect, and nothing is missed"(world) {
    const client = world.connect(world.urls.proxied, { resume: true });
    const kinds = ["orders", "kept"];
    const all = [];
    for (const topic of kinds) all.push(await world.subscribe(client, topic));
    for (let round = 0; round < 3; round += 1) {
      await Promise.all(kinds.map((topic) => client.publish(topic, round)));
      await world.until(client, "messages", () => all.every(({ received }) => received.length === round * 8 + 1));
      await world.control("cut");
      for (const topic of kinds) await world.control(`flood?topic=${topic}&count=7`);
      await world.control("open");
      await world.until(client, "what was published meanwhile", () => all.every(({ received }) => received.length === round * 8 + 8));
    }
    for (const { received, seq } of all) equal(received.map((message) => message.seq), range(seq + 1, seq + 24));
    equal([client.told.gap, client.told.ended, client.told.error.filter(({ code }) => code !== "connection")], [[], [], []]);
    equal(new Set(client.told.open.map(({ session }) => session)).size, client.told.open.length, "hellos of their own");
    // A topic that was left meanwhile is left.
    await world.control("cut");
    client.unsubscribe("kept");
    await world.control("open");
    await client.publish("orders", "last");
    await world.until(client, "the last", () => all[0].received.length === 25);
    equal((await client.publish("kept", "nobody")).matched, 0);
  },

  async "a message is acknowledged when its handler has finished"(world) {
    const [client, writer] = [world.connect(world.urls.proxied, { resume: true }), world.connect()];
    const started = [];
    const finish = [];
    await client.subscribe("one", ({ data }) => {
      started.push(data);
      client.wake?.();
      return new Promise((resolve, reject) => finish.push({ resolve, reject }));
    });
    for (const data of [1, 2, 3, 4]) await writer.publish("one", data);
    await world.until(client, "the first", () => started.length === 1);
    await client.publish("other", "there and back");
    equal(started, [1], "the window is of one");
    // While its handler runs it is not handed on again.
    await world.control("cut");
    await world.control("open");
    await world.until(client, "the second connection", () => client.told.open.length === 2);
    await client.publish("other", "there and back");
    equal(started, [1]);
    finish[0].resolve();
    await world.until(client, "the second", () => started.length === 2);
    // What has failed comes again when it is due.
    finish[1].reject(new Error("no room"));
    await world.until(client, "the second again", () => started.length === 3);
    equal(started, [1, 2, 2]);
    const failures = client.told.error.filter(({ code }) => code === "handler");
    equal(failures.map(({ message, cause }) => [/no room$/.test(message), cause.message]), [[true, "no room"]]);
    finish[2].resolve();
    await world.until(client, "the third", () => started.length === 4);
    finish[3].resolve();
    await world.until(client, "the fourth", () => started.length === 5);
    equal([started, client.told.gap], [[1, 2, 2, 3, 4], []]);
    finish[4].resolve();
  },

  async "no more messages come than handlers are free for"(world) {
    const client = world.connect(world.urls.proxied, { resume: true });
    const finish = [];
    const started = [];
    const { seq } = await client.subscribe("kept", (message) => {
      started.push(message.seq);
      client.wake?.();
      return new Promise((resolve) => finish.push(resolve));
    }, { credit: 2 });
    await world.control("flood?topic=kept&count=10");
    for (let next = 2; next <= 9; next += 1) {
      await world.until(client, "as many as may run", () => started.length === next);
      await client.publish("other", "there and back");
      equal(started.length, next);
      if (next === 5) {
        await world.control("cut");
        await world.control("open");
        await world.until(client, "the second connection", () => client.told.open.length === 2);
      }
      finish[next - 2]();
    }
    await world.until(client, "the last", () => started.length === 10);
    equal(started, range(seq + 1, seq + 10));
    equal(client.told.gap, []);
  },

  async "a subscription starts where the application wants"(world) {
    const writer = world.connect();
    for (const data of range(1, 5)) await writer.publish("history", data);
    let ends = 0;
    const starts = async (from) => {
      const [client, end] = [world.connect(), `end ${(ends += 1)}`];
      const { received, epoch, seq } = await world.subscribe(client, "history", { from });
      await writer.publish("history", end);
      // Its own: what was published before may come first, as history.
      await world.until(client, "the end", () => received.at(-1)?.data === end);
      client.close();
      return { count: received.length, epoch, seq, last: received.at(-1).seq };
    };
    const { epoch, last } = await starts("latest");
    equal((await starts("start")).count, last + 1);
    equal((await starts("snapshot")).count, 2);
    equal((await starts({ history: 3 })).count, 4);
    equal((await starts({ epoch, seq: last })).count, 4);
    equal(await code(writer.subscribe("history", () => {}, { from: { epoch, seq: last + 100 } })), "bad-position");
    equal(await code(writer.subscribe("history", () => {}, { delivery: "at-least-once" })), "not-at-least-once");
    const { received } = await world.subscribe(writer, "orders", { delivery: "best-effort" });
    await writer.publish("orders", 1);
    await world.until(writer, "a message", () => received.length === 1);
    ok(!writer.sockets[0].sent.some((text) => text.includes('"ack"')), "best effort has no acknowledgements");
  },

  async "what comes again is acknowledged and not handed on, and an ended session is made up for"(world) {
    const ok_ = (id, more) => JSON.stringify({ op: "ok", id, ...more });
    const message = (seq) => JSON.stringify({ op: "message", topic: "t", seq, data: seq });
    const lane = { topic: "t", epoch: "e", policy: "block", delivery: "at-least-once", in_flight_max: 8 };
    const scripts = [
      { texts: [HELLO, ok_(1, { session: "s1", ttl_ms: 9 }), ok_(2, { ...lane, seq: 4 }), message(5), message(6), message(5)], code: 1001 },
      {
        texts: [
          HELLO, JSON.stringify({ op: "error", code: "unknown-session", message: "?", id: 3 }),
          ok_(4, { session: "s2", ttl_ms: 9 }), ok_(5, { ...lane, seq: 6 }),
          JSON.stringify({ op: "gap", topic: "t", from: 7, to: 8, missed: 2, reasons: ["history"] }), message(9),
        ],
        code: 1001,
      },
      { texts: [HELLO, ok_(6, { session: "s2", ttl_ms: 9, lanes: [{ ...lane, seq: 6 }] }), message(9), message(10), "["] },
    ];
    await world.control("script", JSON.stringify(scripts));
    const client = world.connect(world.urls.scripted, { resume: true });
    const { received } = await world.subscribe(client, "t", { credit: 3 });
    await world.until(client, "the end of the script", () => client.told.error.some(({ code }) => code === "bad-message"));
    equal(received.map(({ seq }) => seq), [5, 6, 9, 10]);
    equal(client.told.gap, [{ topic: "t", from: 7, to: 8, missed: 2, reasons: ["history"] }]);
    const asked = client.sockets.map(({ sent }) => sent.map((text) => JSON.parse(text)).filter(({ op }) => op !== "credit"));
    const subscribe = { op: "subscribe", topic: "t", credit: 3 };
    equal(asked[0].slice(0, 2), [{ op: "keep", id: 1 }, { ...subscribe, id: 2 }]);
    const [resume, keep, again] = asked[1];
    equal(resume, { op: "resume", session: "s1", lanes: [{ topic: "t", epoch: "e", seq: 6, credit: 3 }], id: 3 });
    equal([keep, again], [{ op: "keep", id: 4 }, { ...subscribe, from: { epoch: "e", seq: 6 }, id: 5 }]);
    equal(asked[2][0], { op: "resume", session: "s2", lanes: [{ topic: "t", epoch: "e", seq: 9, credit: 3 }], id: 6 });
    const acks = asked.map((requests) => requests.filter(({ op }) => op === "ack").flatMap(({ seqs }) => seqs));
    // The last ones of a connection may not have had the time.
    ok([[5, 6, 5], [9], [9, 10]].every((seqs, at) => acks[at].every((seq, place) => seq === seqs[place])), JSON.stringify(acks));
    equal(acks[2], [9, 10]);
  },
};
