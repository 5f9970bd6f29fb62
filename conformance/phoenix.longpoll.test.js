// The official client by long polling: from the start, and where no WebSocket can be opened.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { LongPoll } from "phoenix";
import { answer, connect, next } from "./client.js";
import { startServer } from "./server.js";

// Its requests go through a browser's fetch, which Node.js has, and a timer that AbortController ends.
let server;
before(async () => { server = await startServer("--longpoll-window-ms", "1000"); });
after(() => server.stop());

test("protocol points 62 to 67: join, push, reply and broadcasts between the transports", async (t) => {
  const polling = connect(t, server.url, { transport: LongPoll }).channel("rooms:lobby", {});
  const other = connect(t, server.url).channel("rooms:lobby", {});
  for (const channel of [polling, other]) assert.equal((await answer(channel.join())).status, "ok");
  let heard = next(other, "new:msg");
  assert.deepEqual(
    await answer(polling.push("new:msg", { user: "ann", body: "polled é" })),
    { status: "ok", response: { msg: "polled é" } },
  );
  assert.deepEqual(await heard, { user: "ann", body: "polled é" });
  heard = next(polling, "new:msg");
  other.push("new:msg", { user: "ben", body: "pushed" });
  assert.deepEqual(await heard, { user: "ben", body: "pushed" });
});

test("protocol point 70: very many pushes at once come in order", async (t) => {
  const room = connect(t, server.url, { transport: LongPoll }).channel("bench:many", {});
  assert.equal((await answer(room.join())).status, "ok");
  const numbers = Array.from({ length: 350 }, (_, number) => number);
  const echoes = await Promise.all(numbers.map((number) => answer(room.push("echo", { number }))));
  assert.deepEqual(echoes.map(({ response }) => response.number), numbers);
});

test("protocol point 70: where no WebSocket opens the client falls back to polling and goes on", async (t) => {
  class Closed {
    constructor() {
      this.readyState = 0;
      setTimeout(() => { this.readyState = 3; this.onerror?.(new Error("blocked")); this.onclose?.({ code: 1006 }); }, 0);
    }
    close() {}
  }
  const socket = connect(t, server.url, {
    transport: Closed, longPollFallbackMs: 100, reconnectAfterMs: () => 20, sessionStorage: { getItem: () => null, setItem: () => {} },
  });
  const lobby = socket.channel("rooms:lobby", {});
  assert.equal((await answer(lobby.join())).status, "ok");
  assert.equal(socket.transport, LongPoll);
  assert.equal((await answer(lobby.push("new:msg", { user: "ann", body: "fallen back" }))).status, "ok");
});
