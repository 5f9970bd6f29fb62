// Supabase's realtime-js, a client of Phoenix channels by other authors: topics realtime:*. Its releases from 2.100 on wrap a
// fork of phoenix.js; this one has its own code for the protocol. It speaks version 1.0.0 here: in 2.0.0 it sends broadcasts
// in binary messages of a kind of its own server's, for which Phoenix closes with 1011.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { RealtimeClient } from "@supabase/realtime-js";
import WebSocket from "ws";
import { startServer } from "./server.js";

let server;
before(async () => { server = await startServer(); });
after(() => server.stop());

const enter = async (t, name) => {
  const client = new RealtimeClient(server.url, { transport: WebSocket, vsn: "1.0.0", params: { apikey: "none" } });
  t.after(() => client.disconnect());
  const channel = client.channel(name);
  const heard = new Promise((resolve) => channel.on("broadcast", { event: "shout" }, resolve));
  await new Promise((resolve, reject) => channel.subscribe((status, error) => {
    if (status === "SUBSCRIBED") resolve();
    else if (status !== "CLOSED") reject(error ?? new Error(status));
  }));
  return { channel, heard };
};

test("two clients subscribe, one sends, the other hears it", async (t) => {
  const [ann, ben] = [await enter(t, "chat"), await enter(t, "chat")];
  assert.equal(await ann.channel.send({ type: "broadcast", event: "shout", payload: { body: "hello" } }), "ok");
  const { event, payload } = await ben.heard;
  assert.deepEqual({ event, payload }, { event: "shout", payload: { body: "hello" } });
});

test("a channel is unsubscribed in order", async (t) => {
  const { channel } = await enter(t, "short");
  assert.equal(await channel.unsubscribe(), "ok");
});
