// The chat page: a Phoenix channel client of its own, just large enough for one room.
"use strict";
const element = (id) => document.getElementById(id);
const TOPIC = "rooms:lobby", EVENT = "new:msg", HEARTBEAT_MS = 30_000;
// What the list holds at most: messages, and characters of each.
const SHOWN_MAX = 200, BODY_MAX = 2_000, NAME_MAX = 40;
// As phoenix.js: how long to wait before each further attempt, for a socket or a join.
const RETRY_MS = [10, 50, 100, 150, 200, 250, 500, 1_000, 2_000, 5_000];
const COUNT_MS = 1_000, COUNT_TIMEOUT_MS = 5_000;

let socket, joinRef, ref = 0, attempts = 0, isJoined = false, retry, heartbeat, heartbeatRef;
// What this page has pushed, by ref, until it is answered. The broadcast of it comes just before the reply.
const sent = new Map();

const setState = (text, isGood = false) => {
  isJoined = isGood;
  // Told only when it changes, or a screen reader would say it again and again.
  if (element("state").textContent !== text) element("state").textContent = text;
  element("state").classList.toggle("good", isGood);
  element("send").disabled = !isGood;
};

const problem = (text) => { element("problem").textContent = text; };

// Messages come faster than a screen can show them when fifty thousand talk at once: they are collected, and the list is
// written once per frame at most. What would have been pushed out of it by then is not even drawn.
let waiting = [], isDue = false;

const shorten = (value, max) => {
  const text = typeof value === "string" ? value : JSON.stringify(value) ?? "";
  return text.length > max ? `${text.slice(0, max)}…` : text;
};

const show = ({ user, body }) => {
  waiting.push({ user: shorten(user || "anonymous", NAME_MAX), body: shorten(body, BODY_MAX) });
  if (waiting.length > 2 * SHOWN_MAX) waiting = waiting.slice(-SHOWN_MAX);
  if (isDue) return;
  isDue = true;
  // A page that is not looked at has no frames, hence the timer.
  const timer = setTimeout(draw, 200);
  requestAnimationFrame(() => { clearTimeout(timer); draw(); });
};

const draw = () => {
  if (!isDue) return;
  isDue = false;
  const batch = waiting.slice(-SHOWN_MAX);
  waiting = [];
  const items = batch.map(({ user, body }) => {
    const item = document.createElement("li"), name = document.createElement("span");
    name.className = "user";
    name.textContent = user;
    item.append(name, body);
    return item;
  });
  const list = element("messages");
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 50;
  // Nobody could listen to all of it.
  list.ariaLive = batch.length > 5 ? "off" : "polite";
  for (let over = list.childElementCount + items.length - SHOWN_MAX; over > 0; over--) list.firstElementChild?.remove();
  list.append(...items);
  if (isAtEnd) list.scrollTop = list.scrollHeight;
};

const push = (topic, event, payload, join = joinRef) => {
  const number = String(++ref);
  socket.send(JSON.stringify([join, number, topic, event, payload]));
  return number;
};

const join = () => {
  joinRef = String(ref + 1);
  push(TOPIC, "phx_join", {}, joinRef);
};

const again = (what, how) => {
  clearTimeout(retry);
  const wait = RETRY_MS[Math.min(attempts++, RETRY_MS.length - 1)];
  setState(attempts > 1 ? `${what}, attempt ${attempts}` : what);
  retry = setTimeout(how, wait);
};

const answered = (number, { status, response }) => {
  if (number === joinRef) {
    if (status === "ok") {
      attempts = 0;
      setState("joined", true);
    } else {
      setState(`refused: ${shorten(response?.reason, BODY_MAX)}`);
    }
  } else if (number === heartbeatRef) {
    heartbeatRef = undefined;
  } else if (sent.has(number)) {
    const { at, body } = sent.get(number);
    sent.delete(number);
    if (status === "ok") {
      element("latency").textContent = (performance.now() - at).toFixed(1);
      return problem("");
    }
    problem(`Not sent: ${shorten(response?.reason, BODY_MAX)}`);
    element("message").value ||= body;
  }
};

const receive = ([joined, number, topic, event, payload]) => {
  if (event === "phx_reply") return answered(number, payload);
  if (topic !== TOPIC) return;
  if (event === EVENT) return show(payload);
  const isOver = event === "phx_error" || event === "phx_close";
  if (isOver && joined === joinRef) again("joining again", () => socket.readyState === WebSocket.OPEN && join());
};

const beat = () => {
  // The last one was not answered: the connection is dead, though nobody has said so.
  if (heartbeatRef) return lose(socket);
  heartbeatRef = push("phoenix", "heartbeat", {}, null);
};

// A dead connection may take minutes to close, so the next one does not wait for that.
const lose = (lost) => {
  if (lost !== socket) return;
  socket.onclose = socket.onmessage = socket.onopen = null;
  socket.close();
  clearInterval(heartbeat);
  if (sent.size > 0) problem("The connection was lost: the last message may not have arrived.");
  sent.clear();
  again("reconnecting", connect);
};

const connect = () => {
  clearTimeout(retry);
  heartbeatRef = undefined;
  const url = new URL(document.body.dataset.socket, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.searchParams.set("vsn", "2.0.0");
  // For a server that asks for one: the page's own address may carry it.
  const token = new URLSearchParams(location.search).get("token");
  if (token) url.searchParams.set("token", token);
  const opened = socket = new WebSocket(url);
  opened.onopen = () => {
    join();
    heartbeat = setInterval(beat, HEARTBEAT_MS);
  };
  opened.onmessage = ({ data }) => receive(JSON.parse(data));
  opened.onclose = () => lose(opened);
};

// A phone that wakes up or finds its network again need not wait for the next attempt.
const wake = () => {
  if (!document.hidden && ![WebSocket.OPEN, WebSocket.CONNECTING].includes(socket.readyState)) connect();
};
document.addEventListener("visibilitychange", wake);
addEventListener("online", wake);

element("form").onsubmit = (event) => {
  event.preventDefault();
  const input = element("message"), body = input.value;
  if (!body || !isJoined || socket.readyState !== WebSocket.OPEN) return;
  const at = performance.now();
  sent.set(push(TOPIC, EVENT, { user: element("name").value, body }), { at, body });
  input.value = "";
  // Whoever used the button goes on writing, and a phone keeps its keyboard.
  input.focus();
};

// Kept from visit to visit where the browser allows it.
try {
  element("name").value = localStorage.getItem("name") ?? "";
  element("name").onchange = () => localStorage.setItem("name", element("name").value);
} catch { /* Then not. */ }

const count = async () => {
  try {
    const response = await fetch("stats", { signal: AbortSignal.timeout(COUNT_TIMEOUT_MS) });
    const { joined } = await response.json();
    element("members").textContent = joined.toLocaleString("en");
    element("members-word").textContent = joined === 1 ? "member" : "members";
  } catch {
    element("members").textContent = "–";
  }
  setTimeout(count, COUNT_MS);
};

// Phones that lay their keyboard over the page instead of making it smaller tell of it here.
window.visualViewport?.addEventListener("resize", () => {
  const { height, scale } = window.visualViewport;
  const isCovered = scale === 1 && height < document.documentElement.clientHeight - 1;
  document.body.style.height = isCovered ? `${height}px` : "";
  const list = element("messages");
  list.scrollTop = list.scrollHeight;
});

connect();
count();
