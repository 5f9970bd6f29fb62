// What the tests of the official client share.
import { Socket } from "phoenix";
import WebSocket from "ws";

// phoenix.js looks for a browser's global where it picks its default transport.
globalThis.WebSocket ??= WebSocket;

/** What a push or join is answered with. */
export const answer = (push) => new Promise((resolve, reject) => {
  push.receive("ok", (response) => resolve({ status: "ok", response }))
    .receive("error", (response) => resolve({ status: "error", response }))
    .receive("timeout", () => reject(new Error("no reply")));
});

/** A socket of this test, connected and closed with it. */
export const connect = (t, url, options = {}) => {
  const socket = new Socket(url, { transport: WebSocket, timeout: 5000, ...options });
  t.after(() => new Promise((resolve) => { socket.stateChangeCallbacks.close = []; socket.disconnect(resolve); }));
  socket.connect();
  return socket;
};

/** The next payload of an event on a channel. */
export const next = (channel, event) => new Promise((resolve) => {
  const ref = channel.on(event, (payload) => { channel.off(event, ref); resolve(payload); });
});

/** The first value that `check` finds good, looked for at each call of the function that is passed to `subscribe`. */
export const until = (subscribe, check) => new Promise((resolve) => {
  const look = () => { const found = check(); if (found) resolve(found); };
  subscribe(look);
  look();
});
