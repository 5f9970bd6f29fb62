// Chat page and dashboard while fifty thousand come and a few of them talk.
import { once } from "node:events";
import WebSocket from "ws";
import { crowdSize, launch, open, startCrowd, waitFor, waitForText } from "./browser.js";
import { startServer } from "./server.js";

const [, , directory] = process.argv;
const JOINS_PER_SECOND = 1_500;
const SAID = [
  ["ben", "hello, everyone"],
  ["ann", "hi ben! how many of us are there?"],
  ["cem", "look at the top of the page"],
  ["ann", "all of them in one room, and on one machine?"],
  ["ben", "clients and server both, yes"],
  ["cem", "and each of these lines goes to every one of them"],
  ["ann", "says the dashboard too. not bad"],
];
// A page and two others talk; the rest of the crowd listens, and sends heartbeats.
const clients = crowdSize() - 2;
const told = (clients + 3).toLocaleString("en");

const server = await startServer("--clients", String(clients + 100));
const browser = await launch();
const dashboard = await open(browser, `http://${server.address}/dashboard`, [], { width: 1100, height: 700, deviceScaleFactor: 1.5 });
await waitForText(dashboard, "#state", "live");
const crowd = await startCrowd(server, clients, JOINS_PER_SECOND);

const sockets = {};
for (const name of ["ben", "cem"]) {
  const socket = sockets[name] = new WebSocket(`${server.url}/websocket?vsn=2.0.0`);
  await once(socket, "open");
  socket.send('["1","1","rooms:lobby","phx_join",{}]');
}
const chat = await open(browser, `http://${server.address}/`, [], { width: 640, height: 460, deviceScaleFactor: 2 });
await waitForText(chat, "#state", "joined");
await waitForText(chat, "#members", told);
await chat.type("#name", "ann");
let ref = 1;
for (const [name, body] of SAID) {
  const uptime = await dashboard.$eval("#uptime", (element) => element.textContent);
  if (name === "ann") {
    await chat.type("#message", body);
    await chat.keyboard.press("Enter");
  } else {
    sockets[name].send(JSON.stringify(["1", String(++ref), "rooms:lobby", "new:msg", { user: name, body }]));
  }
  await waitFor(chat, (body) => document.querySelector("#messages").lastElementChild?.textContent.endsWith(body), body);
  // A line a second, so that they are seen one by one on the dashboard.
  await waitFor(dashboard, (uptime) => document.querySelector("#uptime").textContent !== uptime, uptime);
}
await waitFor(dashboard, (last) => document.querySelector("#tiles").textContent.includes(last), `to ${told} members; ${SAID.length} so far`);
await chat.screenshot({ path: `${directory}/chat.png` });
await dashboard.bringToFront();
await dashboard.screenshot({ path: `${directory}/dashboard.png`, fullPage: true });

Object.values(sockets).forEach((socket) => socket.terminate());
await browser.close();
await crowd.leave();
await server.stop();
console.log(`${directory}/chat.png and dashboard.png, ${told} members`);
