// The official phoenix.js client against c2m-server: what a browser application does in the chat of 2015.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Socket } from "phoenix";
import WebSocket from "ws";
import { startServer } from "./server.js";

let server;
before(async () => { server = await startServer(); });
after(async () => { assert.equal(await server.stop(), 0, "the server drains and exits 0 when stdin closes"); });

// phoenix.js looks for a browser's global where it picks its default transport.
globalThis.WebSocket ??= WebSocket;

const answer = (push) => new Promise((resolve, reject) => {
  push.receive("ok", (response) => resolve({ status: "ok", response }))
    .receive("error", (response) => resolve({ status: "error", response }))
    .receive("timeout", () => reject(new Error("no reply")));
});

const connect = (t, options = {}) => {
  const socket = new Socket(server.url, { transport: WebSocket, timeout: 5000, ...options });
  t.after(() => new Promise((resolve) => { socket.stateChangeCallbacks.close = []; socket.disconnect(resolve); }));
  socket.connect();
  return socket;
};

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
