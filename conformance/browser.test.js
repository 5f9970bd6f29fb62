// The chat page in headless Chromium: two tabs talk, the number of members moves, the console stays clean.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import puppeteer from "puppeteer-core";
import { startServer } from "./server.js";

let server, browser;
before(async () => {
  server = await startServer();
  // The sandbox needs user namespaces, which root in a container may lack; the page is our own.
  browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
});
after(async () => {
  await browser?.close();
  await server.stop();
});

// A tab in the background paints no frames, which is when it would be looked at otherwise.
const waitFor = (page, check, ...values) => page.waitForFunction(check, { polling: 100 }, ...values);

const open = async (complaints) => {
  const page = await browser.newPage();
  page.on("console", (message) => { if (["error", "warn"].includes(message.type())) complaints.push(message.text()); });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("requestfailed", (request) => complaints.push(`${request.url()} failed`));
  page.on("response", (response) => { if (!response.ok()) complaints.push(`${response.url()}: ${response.status()}`); });
  await page.goto(`http://${server.address}/`);
  await waitFor(page, () => document.querySelector("#state").textContent === "joined");
  return page;
};

const waitForMembers = (page, count) =>
  waitFor(page, (expected) => document.querySelector("#members").textContent === expected, String(count));

test("two tabs exchange a message and see each other counted", async () => {
  const complaints = [];
  const ann = await open(complaints);
  await waitForMembers(ann, 1);
  const ben = await open(complaints);
  await waitForMembers(ann, 2);

  const text = "hello <b>ben</b> & all";
  await ann.bringToFront();
  await ann.type("#name", "ann");
  await ann.type("#message", text);
  await ann.click("#send");
  for (const page of [ann, ben]) {
    await waitFor(page, () => document.querySelectorAll("#messages li").length === 1);
    assert.equal(await page.$eval("#messages li", (item) => item.textContent), `ann${text}`);
  }
  await waitFor(ann, () => Number(document.querySelector("#latency").textContent) > 0);

  await ben.bringToFront();
  await ben.type("#message", "and back");
  await ben.keyboard.press("Enter");
  await waitFor(ann, () => document.querySelectorAll("#messages li").length === 2);

  await ben.close();
  await waitForMembers(ann, 1);
  assert.deepEqual(complaints, []);
});

test("the page fits a phone", async () => {
  const page = await open([]);
  await page.setViewport({ width: 360, height: 640 });
  const { scrollWidth, clientWidth } = await page.$eval("html", ({ scrollWidth, clientWidth }) => ({ scrollWidth, clientWidth }));
  assert.ok(scrollWidth <= clientWidth, `${scrollWidth} px wide on ${clientWidth} px`);
});
