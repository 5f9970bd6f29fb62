// The official phoenix.js client against c2m-server: what a browser application does in the chat of 2015.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { answer, connect as connectTo, next } from "./client.js";
import { startServer } from "./server.js";

let server;
before(async () => { server = await startServer(); });
after(async () => { assert.equal(await server.stop(), 0, "the server drains and exits 0 when stdin closes"); });

const connect = (t, options) => connectTo(t, server.url, options);

// phoenix.js ships the v2 serializer only; v1 is the object form that clients of 2015 spoke.
const v1 = {
  encode: (message, callback) => callback(JSON.stringify(message)),
  decode: (text, callback) => callback(JSON.parse(text)),
};

for (const vsn of ["2.0.0", "1.0.0"]) {
  test(`vsn ${vsn}: join the lobby, push new:msg, get the broadcast before the reply`, async (t) => {
    const socket = connect(t, { vsn, ...(vsn === "1.0.0" ? v1 : {}) });
    const lobby = socket.channel("rooms:lobby", { user: "ann" });
    assert.deepEqual(await answer(lobby.join()), { status: "ok", response: {} });

    const order = [];
    const heard = new Promise((resolve) => lobby.on("new:msg", (message) => { order.push("broadcast"); resolve(message); }));
    const reply = answer(lobby.push("new:msg", { user: "ann", body: "hello" })).then((r) => { order.push("reply"); return r; });
    assert.deepEqual(await heard, { user: "ann", body: "hello" });
    assert.deepEqual(await reply, { status: "ok", response: { msg: "hello" } });
    assert.deepEqual(order, ["broadcast", "reply"]);
  });
}

test("a message goes to every member, and not to one who left", async (t) => {
  const [ann, ben, cem] = await Promise.all([1, 2, 3].map(async () => {
    const lobby = connect(t).channel("rooms:lobby", {});
    assert.equal((await answer(lobby.join())).status, "ok");
    return lobby;
  }));
  assert.equal((await answer(cem.leave())).status, "ok");
  cem.on("new:msg", () => assert.fail("a channel that was left got a message"));
  const heard = Promise.all([ann, ben].map((lobby) => new Promise((resolve) => lobby.on("new:msg", resolve))));
  ann.push("new:msg", { user: "ann", body: "to all" });
  for (const message of await heard) assert.deepEqual(message, { user: "ann", body: "to all" });
});

test("another room refuses the join and the socket lives on", async (t) => {
  const socket = connect(t);
  const other = socket.channel("rooms:secret", {});
  assert.deepEqual(await answer(other.join()), { status: "error", response: { reason: "unauthorized" } });
  other.leave();
  assert.equal((await answer(socket.channel("rooms:lobby", {}).join())).status, "ok");
});

test("heartbeats are answered, so the client keeps its connection", async (t) => {
  const socket = connect(t, { heartbeatIntervalMs: 50 });
  socket.onClose(() => assert.fail("the connection closed"));
  let answered = 0;
  await new Promise((resolve) => socket.onMessage(({ topic, event, payload }) => {
    if (topic !== "phoenix" || event !== "phx_reply") return;
    assert.deepEqual(payload, { status: "ok", response: {} });
    if (++answered === 3) resolve();
  }));
});

test("protocol points 27, 28 and 30: binary pushes are replied and broadcast", async (t) => {
  const room = connect(t).channel("bench:binary", {});
  const other = connect(t).channel("bench:binary", {});
  for (const channel of [room, other]) assert.equal((await answer(channel.join())).status, "ok");
  const data = new Uint8Array([0, 255, 128, 7]);
  const { status, response } = await answer(room.push("echo", data.buffer));
  assert.equal(status, "ok");
  assert.deepEqual(new Uint8Array(response), data);
  const heard = next(other, "new:msg");
  room.push("new:msg", data.buffer);
  assert.deepEqual(new Uint8Array(await heard), data);
});

test("protocol points 48 and 50: after a leave the channel is closed and can be joined again", async (t) => {
  const socket = connect(t);
  const lobby = socket.channel("rooms:lobby", {});
  await answer(lobby.join());
  const closed = new Promise((resolve) => lobby.onClose(resolve));
  assert.equal((await answer(lobby.leave())).status, "ok");
  await closed;
  assert.equal((await answer(socket.channel("rooms:lobby", {}).join())).status, "ok");
});

for (const [how, prepare] of [
  ["point 40: the client leaves the first", () => {}],
  ["point 39: the client does not leave the first, and the server closes it", (socket) => { socket.leaveOpenTopic = () => {}; }],
]) {
  test(`protocol ${how}: a second channel of a topic replaces it, and each broadcast comes once`, async (t) => {
    const socket = connect(t);
    prepare(socket);
    let frames = 0;
    socket.onMessage(({ event }) => { frames += event === "new:msg" ? 1 : 0; });
    const first = socket.channel("rooms:lobby", {});
    await answer(first.join());
    const closed = new Promise((resolve) => first.onClose(resolve));
    const second = socket.channel("rooms:lobby", {});
    assert.equal((await answer(second.join())).status, "ok");
    await closed;
    let copies = 0;
    second.on("new:msg", () => { copies += 1; });
    for (const body of ["once", "and once more"]) await answer(second.push("new:msg", { user: "ann", body }));
    assert.deepEqual({ copies, frames }, { copies: 2, frames: 2 });
  });
}

test("protocol point 35: a topic without a room is unmatched", async (t) => {
  const nowhere = connect(t).channel("nowhere:1", {});
  assert.deepEqual(await answer(nowhere.join()), { status: "error", response: { reason: "unmatched topic" } });
  nowhere.leave();
});

test("protocol point 52: a channel that crashes is joined again by the client", async (t) => {
  const lobby = connect(t, { rejoinAfterMs: () => 10 }).channel("rooms:lobby", {});
  let joins = 0;
  await answer(lobby.join().receive("ok", () => { joins += 1; }));
  const crashed = new Promise((resolve) => lobby.onError(resolve));
  lobby.push("no such event", {});
  await crashed;
  assert.equal((await answer(lobby.push("new:msg", { user: "ann", body: "again" }))).status, "ok");
  assert.equal(joins, 2);
});

test("protocol point 13: the client's authToken lets it in", async (t) => {
  const guarded = await startServer("--auth-token", "s3cret");
  t.after(() => guarded.stop());
  const lobby = connectTo(t, guarded.url, { authToken: "s3cret" }).channel("rooms:lobby", {});
  assert.equal((await answer(lobby.join())).status, "ok");
  const refused = connectTo(t, guarded.url, { authToken: "other", reconnectAfterMs: () => 60_000 });
  await new Promise((resolve) => refused.onError(resolve));
  assert.equal(refused.isConnected(), false);
});

test("protocol points 59 and 61: after a restart of the server the client reconnects and rejoins", async (t) => {
  const before = await startServer();
  const socket = connectTo(t, before.url, { reconnectAfterMs: () => 20, rejoinAfterMs: () => 20 });
  const lobby = socket.channel("rooms:lobby", {});
  let joins = 0;
  await answer(lobby.join().receive("ok", () => { joins += 1; }));
  const closed = new Promise((resolve) => socket.onClose(resolve));
  await before.stop();
  assert.equal((await closed).code, 1012);
  const after = await startServer("--listen", before.address);
  t.after(() => after.stop());
  assert.equal((await answer(lobby.push("new:msg", { user: "ann", body: "back" }))).status, "ok");
  assert.equal(joins, 2);
});
