// Phoenix channels on Node and ws, the usual way: one process, an object per client. Joins, leaves, heartbeats and new:msg to
// all members, messages of version 1 (objects) and 2 (arrays). Measured in place of c2m-server by
//   [server]
//   command = "node experiments/servers/node/server.js"    (after: npm ci --prefix experiments/servers/node)
//   ready = "listening on"
//   url = "ws://127.0.0.1:4100/socket/websocket"
// Arguments: [HOST:PORT], by default 127.0.0.1:4100; port 0 takes any. Ends on SIGTERM and SIGINT.
import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const [host, port] = (process.argv[2] ?? "127.0.0.1:4100").split(/:(?=\d+$)/);
const PATH = "/socket/websocket";
const BACKLOG = 65_535;

// Topic to members: socket to the join's ref.
const rooms = new Map();

const write = {
  "1.0.0": (join_ref, ref, topic, event, payload) => JSON.stringify({ topic, event, payload, ref, join_ref }),
  "2.0.0": (join_ref, ref, topic, event, payload) => JSON.stringify([join_ref, ref, topic, event, payload]),
};

const read = {
  "1.0.0": (text) => JSON.parse(text),
  "2.0.0": (text) => {
    const [join_ref, ref, topic, event, payload] = JSON.parse(text);
    return { join_ref, ref, topic, event, payload };
  },
};

function leave(socket, topic) {
  const members = rooms.get(topic);
  if (!members?.delete(socket)) return false;
  if (members.size === 0) rooms.delete(topic);
  socket.topics.delete(topic);
  return true;
}

function broadcast(topic, event, payload) {
  // Each form is written once.
  const texts = {};
  for (const socket of rooms.get(topic).keys()) {
    socket.send((texts[socket.vsn] ??= write[socket.vsn](null, null, topic, event, payload)));
  }
}

function handle(socket, { join_ref, ref, topic, event, payload }) {
  const send = (own, about, event, payload) => socket.send(write[socket.vsn](own ?? null, about ?? null, topic, event, payload));
  const reply = (own, status, response) => send(own, ref, "phx_reply", { status, response });
  const joined = rooms.get(topic)?.get(socket);
  if (topic === "phoenix" && event === "heartbeat") return reply(null, "ok", {});
  if (event === "phx_join") {
    if (!/^(rooms:lobby$|bench:)/.test(topic)) return reply(join_ref, "error", { reason: "unauthorized" });
    if (!rooms.has(topic)) rooms.set(topic, new Map());
    rooms.get(topic).set(socket, join_ref ?? ref);
    socket.topics.add(topic);
    return reply(join_ref, "ok", {});
  }
  if (event === "phx_leave") {
    const had = leave(socket, topic);
    reply(joined ?? join_ref, "ok", {});
    if (had) send(joined, joined, "phx_close", {});
    return;
  }
  if (joined === undefined) return reply(null, "error", { reason: "unmatched topic" });
  if (event !== "new:msg") {
    leave(socket, topic);
    return send(joined, joined, "phx_error", { reason: "channel_crash" });
  }
  broadcast(topic, event, payload);
  reply(joined, "ok", { msg: payload?.body ?? null });
}

const http = createServer((request, response) => response.writeHead(404).end());
const server = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 65_536 });

http.on("upgrade", (request, stream, head) => {
  const url = new URL(request.url, "http://a");
  const vsn = url.searchParams.get("vsn") ?? "1.0.0";
  if (url.pathname !== PATH || !(vsn in write)) {
    stream.end("HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    return;
  }
  server.handleUpgrade(request, stream, head, (socket) => {
    socket.vsn = vsn;
    socket.topics = new Set();
    socket.on("message", (data) => {
      let message;
      try {
        message = read[vsn](data.toString());
      } catch {
        return socket.close(1011);
      }
      handle(socket, message);
    });
    socket.on("close", () => [...socket.topics].forEach((topic) => leave(socket, topic)));
    // The close that follows an error does what there is to do.
    socket.on("error", () => {});
  });
});

http.listen({ host, port: Number(port), backlog: BACKLOG }, () => {
  const { address, port } = http.address();
  console.log(`listening on ${address}:${port}`);
});

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, () => {
    http.close();
    for (const socket of server.clients) socket.close(1012);
    // Whoever has not closed by then is cut off, as a drain would.
    setTimeout(() => process.exit(0), 1_000).unref();
  });
}
