// The chat page in headless Chromium: what is said arrives, whatever is said, however much, on whatever screen.
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import WebSocket from "ws";
import { assertFitsPhone, launch, open, PHONE, photograph, staysResponsive, text, waitFor, waitForText } from "./browser.js";
import { startServer } from "./server.js";

let server, browser;
before(async () => {
  server = await startServer();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server.stop();
});

const openChat = async (complaints, viewport, on = server) => {
  const page = await open(browser, `http://${on.address}/`, complaints, viewport);
  await waitForText(page, "#state", "joined");
  return page;
};

/** A member without a page, which says whatever it likes. */
const member = async (t, on = server) => {
  const socket = new WebSocket(`${on.url}/websocket?vsn=2.0.0`);
  t.after(() => socket.terminate());
  await once(socket, "open");
  let ref = 0, answered = 0, wake = () => {};
  const lost = once(socket, "close").then(() => { throw new Error("a member was dropped"); });
  lost.catch(() => {});
  socket.on("message", (data) => {
    if (JSON.parse(data)[3] === "phx_reply") { answered += 1; wake(); }
  });
  // Few under way, so that nothing is refused and nobody falls behind.
  const push = async (event, payload) => {
    while (ref - answered > 100) await Promise.race([lost, new Promise((resolve) => { wake = resolve; })]);
    socket.send(JSON.stringify(["1", String(++ref), "rooms:lobby", event, payload]));
  };
  await push("phx_join", {});
  return { say: (payload) => push("new:msg", payload) };
};

const items = (page) => page.$$eval("#messages li", (items) => items.map((item) => item.textContent));

test("two tabs exchange a message and see each other counted", async () => {
  const complaints = [];
  const ann = await openChat(complaints);
  await waitForText(ann, "#members", "1");
  await photograph(ann, "chat-0");
  const ben = await openChat(complaints);
  await waitForText(ann, "#members", "2");

  const said = "hello <b>ben</b> & all";
  await ann.bringToFront();
  await ann.type("#name", "ann");
  await ann.type("#message", said);
  await ann.click("#send");
  for (const page of [ann, ben]) {
    await waitFor(page, () => document.querySelectorAll("#messages li").length === 1);
    assert.deepEqual(await items(page), [`ann${said}`]);
  }
  await waitFor(ann, () => Number(document.querySelector("#latency").textContent) > 0);
  assert.equal(await ann.evaluate(() => document.activeElement.id), "message", "a phone keeps its keyboard");

  await ben.bringToFront();
  await ben.type("#message", "and back");
  await ben.keyboard.press("Enter");
  await waitFor(ann, () => document.querySelectorAll("#messages li").length === 2);

  await ben.close();
  await waitForText(ann, "#members", "1");
  assert.deepEqual(complaints, []);
  await ann.close();
});

test("the page fits a phone, also above its keyboard", async () => {
  const page = await openChat([], PHONE);
  await assertFitsPhone(page);
  // What a keyboard leaves of the screen.
  await page.setViewport({ ...PHONE, height: 340 });
  const { heights, bottoms } = await page.evaluate(() => {
    const of = (side) => ["messages", "name", "message", "send"].map((id) => document.getElementById(id).getBoundingClientRect()[side]);
    return { heights: of("height"), bottoms: of("bottom") };
  });
  assert.ok(Math.max(...bottoms) <= 340, `reaches down to ${bottoms}`);
  assert.ok(heights[0] >= 100, `${heights[0]} px for messages`);
  await assertFitsPhone(page);
  await page.close();
});

test("whoever can't see the page is told what is what", async () => {
  const page = await openChat([]);
  const { children } = await page.accessibility.snapshot({ interestingOnly: false });
  const found = [];
  const walk = (nodes) => nodes?.forEach(({ role, name, children }) => { found.push(`${role} ${name ?? ""}`); walk(children); });
  walk(children);
  for (const expected of ["textbox Name", "textbox Message", "button Send", "log Messages", "heading rooms:lobby"]) {
    assert.ok(found.includes(expected), `no ${expected} in ${found.join("; ")}`);
  }
  await page.close();
});

test("what others say is text, whatever they say, and no longer than a screen can take", async (t) => {
  const complaints = [];
  const page = await openChat(complaints);
  const other = await member(t);
  const evil = "<img src=x onerror=\"document.title='hit'\"><script>document.title='hit'</script>";
  for (const payload of [{ user: evil, body: evil }, { user: null, body: { deep: [1] } }, {}, { user: 7, body: "x".repeat(60_000) }]) {
    await other.say(payload);
  }
  await waitFor(page, () => document.querySelectorAll("#messages li").length === 4);
  const [first, second, third, fourth] = await items(page);
  assert.ok(first.endsWith(evil), first);
  assert.deepEqual([second, third], ["anonymous{\"deep\":[1]}", "anonymousnull"]);
  assert.ok(fourth.startsWith("7xxx") && fourth.length < 3_000, `${fourth.length} characters`);
  assert.equal(await page.$$eval("#messages img, #messages script", (found) => found.length), 0);
  assert.equal(await page.title(), "rooms:lobby");
  await assertFitsPhone(page);
  // Even a script that had got in would not run.
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "document.title = 'hit'";
    document.body.append(script);
  });
  assert.equal(await page.title(), "rooms:lobby");
  assert.ok(complaints.length > 0 && complaints.every((complaint) => complaint.includes("Content Security Policy")), complaints.join());
  await page.close();
});

test("a storm of messages neither freezes the page nor fills it", async (t) => {
  // One that lets everything wait for a page that is slower than the storm, instead of dropping it.
  const patient = await startServer("--queue-frames", "1000000", "--queue-bytes", "1000000000");
  t.after(() => patient.stop());
  const complaints = [];
  const page = await openChat(complaints, PHONE, patient);
  const other = await member(t, patient);
  await staysResponsive(page, async () => {
    for (let said = 0; said < 30_000; said++) await other.say({ user: "other", body: `message ${said} <b>` });
    await page.type("#message", "still here");
    await page.click("#send");
    await waitFor(page, () => document.querySelector("#messages").lastElementChild?.textContent === "anonymousstill here");
  });
  assert.equal((await items(page)).length, 200);
  assert.ok(await page.$eval("#messages", ({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight < 50));
  assert.deepEqual(complaints, []);
  await page.close();
});

test("a refused message comes back, and a lost connection shows until there is another", async () => {
  let own = await startServer();
  const page = await open(browser, `http://${own.address}/`);
  await waitForText(page, "#state", "joined");
  await own.stop();
  await waitFor(page, () => document.querySelector("#state").textContent.startsWith("reconnecting"));
  assert.equal(await page.$eval("#send", (button) => button.disabled), true);
  await page.type("#message", "kept");
  await page.keyboard.press("Enter");
  assert.equal(await page.$eval("#message", (input) => input.value), "kept", "not lost on a dead connection");
  await waitForText(page, "#members", "–");

  own = await startServer("--listen", own.address);
  await waitForText(page, "#state", "joined");
  await page.keyboard.press("Enter");
  await waitFor(page, () => document.querySelector("#messages").lastElementChild?.textContent === "anonymouskept");
  assert.equal(await text(page, "#problem"), "");
  await page.close();
  await own.stop();
});
