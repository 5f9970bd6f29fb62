// Both pages with fifty thousand clients in the room: what is said still comes back, and everything still moves.
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertFitsPhone, crowdSize, launch, open, photograph, staysResponsive, startCrowd, text, waitFor, waitForText } from "./browser.js";
import { startServer } from "./server.js";

const clients = crowdSize();
const told = (count) => count.toLocaleString("en");

test(`both pages stay responsive with ${told(clients)} clients`, async (t) => {
  const server = await startServer("--clients", String(clients + 100));
  t.after(() => server.stop());
  const crowd = await startCrowd(server, clients);
  t.after(() => crowd.leave());
  const browser = await launch();
  t.after(() => browser.close());
  const complaints = [];
  const dashboard = await open(browser, `http://${server.address}/dashboard`, complaints);
  await waitForText(dashboard, "#members", told(clients));
  const chat = await open(browser, `http://${server.address}/`, complaints);
  await waitForText(chat, "#state", "joined");
  await waitForText(chat, "#members", told(clients + 1));

  await staysResponsive(chat, async () => {
    await chat.type("#name", "ann");
    for (let said = 1; said <= 3; said++) {
      await chat.type("#message", `Hello, all ${told(clients)} of you! (${said})`);
      await chat.click("#send");
      await waitFor(chat, (said) => document.querySelectorAll("#messages li").length === said, said);
    }
  });
  await waitFor(chat, () => Number(document.querySelector("#latency").textContent) > 0);
  console.log(`message back in ${await text(chat, "#latency")} ms`);
  await photograph(chat, "chat-crowd");
  await assertFitsPhone(chat);

  await dashboard.bringToFront();
  await waitForText(dashboard, "#members", told(clients + 1));
  await waitFor(dashboard, (reached) => document.querySelector("#tiles").textContent.includes(reached), `to ${told(clients + 1)} members`);
  await waitFor(dashboard, () => Number(document.querySelector("#fan-out").textContent) > 0);
  // Process memory per client; a server that keeps a buffer for each would need thousands.
  const perClient = Number(await text(dashboard, "#memory"));
  assert.ok(perClient > 20 && perClient < 1_000, `${perClient} B`);
  await staysResponsive(dashboard, async () => {
    // Heartbeats of the crowd: the rate moves from second to second.
    const before = await text(dashboard, "#messages");
    await waitFor(dashboard, (before) => document.querySelector("#messages").textContent !== before, before);
    const uptime = await text(dashboard, "#uptime");
    await waitFor(dashboard, (uptime) => document.querySelector("#uptime").textContent !== uptime, uptime);
  });
  await photograph(dashboard, "dashboard-crowd");
  await assertFitsPhone(dashboard);
  assert.deepEqual(complaints, []);
});
