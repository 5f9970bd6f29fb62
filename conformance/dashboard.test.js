// The dashboard in headless Chromium, with nobody there and with few.
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { after, before, test } from "node:test";
import WebSocket from "ws";
import { assertFitsPhone, launch, open, photograph, staysResponsive, text, waitFor, waitForText } from "./browser.js";
import { startServer } from "./server.js";

let server, browser;
before(async () => {
  server = await startServer("--shards", "3");
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server.stop();
});

const openDashboard = async (complaints) => {
  const page = await open(browser, `http://${server.address}/dashboard`, complaints);
  await waitForText(page, "#state", "live");
  return page;
};

test("it shows nobody, goes on by itself, and shows whoever comes and what they say", async (t) => {
  const complaints = [];
  const page = await openDashboard(complaints);
  assert.deepEqual([await text(page, "#members"), await text(page, "#fan-out"), await text(page, "#memory")], ["0", "–", "–"]);
  await waitForText(page, "#joins", "0");
  await staysResponsive(page, async () => {
    for (let times = 0; times < 2; times++) {
      const before = await text(page, "#uptime");
      await waitFor(page, (before) => document.querySelector("#uptime").textContent !== before, before);
    }
  });
  assert.deepEqual([await page.$$eval("#shards li", (found) => found.length), await text(page, "#watchers")], [3, "1"]);
  assert.ok(await page.$$eval("#cores li", (found) => found.length) > 0);
  for (const bars of ["#shards", "#cores"]) {
    await waitFor(page, (bars) => [...document.querySelectorAll(`${bars} .share`)].every(({ textContent }) => /^\d+ %$/.test(textContent)), bars);
  }
  await photograph(page, "dashboard-0");

  const socket = new WebSocket(`${server.url}/websocket?vsn=2.0.0`);
  t.after(() => socket.terminate());
  await once(socket, "open");
  socket.send('["1","1","rooms:lobby","phx_join",{}]');
  socket.send('["1","2","rooms:lobby","new:msg",{"user":"a","body":"b"}]');
  await waitForText(page, "#members", "1");
  await waitFor(page, () => Number(document.querySelector("#fan-out").textContent) >= 0);
  assert.match(await page.$eval("#tiles", (tiles) => tiles.textContent), /to 1 member; 1 so far/);
  assert.ok(await page.$$eval(".spark .line", (lines) => lines.some((line) => line.getAttribute("d").includes("L"))));
  assert.deepEqual(complaints, []);
  await page.close();
});

test("it fits a phone", async () => {
  const page = await openDashboard([]);
  await assertFitsPhone(page);
  await page.close();
});

test("with as many watchers as may be it says so, and goes live when one goes", async (t) => {
  // A server of its own: the pages of other tests may still be on their way out.
  const own = await startServer();
  t.after(() => own.stop());
  const streams = [];
  const watch = () => new Promise((resolve, reject) => {
    const request = http.get(`http://${own.address}/dashboard/stream`, (response) => {
      response.resume();
      response.once("error", () => {});
      if (response.statusCode === 200) streams.push(request);
      resolve(response.statusCode);
    });
    request.once("error", reject);
  });
  while (await watch() === 200);
  assert.ok(streams.length > 0);
  const page = await open(browser, `http://${own.address}/dashboard`);
  await waitForText(page, "#state", "refused, trying again");
  streams.forEach((stream) => { stream.removeAllListeners("error"); stream.on("error", () => {}); stream.destroy(); });
  await waitForText(page, "#state", "live");
  await page.close();
});

test("a server that ends and comes again shows", async () => {
  let own = await startServer();
  const page = await open(browser, `http://${own.address}/dashboard`);
  await waitForText(page, "#state", "live");
  await own.stop();
  await waitForText(page, "#state", "reconnecting");
  own = await startServer("--listen", own.address);
  await waitForText(page, "#state", "live");
  await page.close();
  await own.stop();
});
