// What the tests in headless Chromium share.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, openSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import puppeteer from "puppeteer-core";

const bin = process.env.C2M_BIN ?? fileURLToPath(new URL("../target/release", import.meta.url));
/** Where logs and screenshots go; nothing of it is committed. */
export const scratch = process.env.SCRATCH ?? fileURLToPath(new URL("../target/conformance", import.meta.url));

// The sandbox needs user namespaces, which root in a container may lack; the pages are our own.
export const launch = () => puppeteer.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });

// Not `isMobile`: a page is loaded again when that changes, and would have forgotten what it is to show.
export const PHONE = { width: 360, height: 740, deviceScaleFactor: 2 };
export const DESKTOP = { width: 1200, height: 800, deviceScaleFactor: 1 };

/** A page that is shown; whatever it complains of is collected. */
export const open = async (browser, url, complaints = [], viewport = DESKTOP) => {
  const page = await browser.newPage();
  page.on("console", (message) => { if (["error", "warn"].includes(message.type())) complaints.push(message.text()); });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("requestfailed", (request) => complaints.push(`${request.url()} failed`));
  page.on("response", (response) => { if (!response.ok()) complaints.push(`${response.url()}: ${response.status()}`); });
  await page.setViewport(viewport);
  await page.bringToFront();
  // Not the end of all requests: the dashboard's stream never ends.
  await page.goto(url, { waitUntil: "domcontentloaded" });
  return page;
};

// A tab in the background paints no frames, which is when it would be looked at otherwise.
export const waitFor = (page, check, ...values) => page.waitForFunction(check, { polling: 100, timeout: 60_000 }, ...values);

export const text = (page, selector) => page.$eval(selector, (element) => element.textContent);

export const waitForText = (page, selector, expected) =>
  waitFor(page, (selector, expected) => document.querySelector(selector).textContent === expected, selector, expected);

/** The page goes on painting while `work` is done. The bound is far beyond what a page that works takes for a frame. */
export const staysResponsive = async (page, work) => {
  await page.bringToFront();
  await page.evaluate(() => {
    window.watch = { ticks: 0, longest: 0 };
    let last = performance.now();
    const tick = () => {
      const now = performance.now();
      window.watch.ticks += 1;
      window.watch.longest = Math.max(window.watch.longest, now - last);
      last = now;
      window.watch.next = requestAnimationFrame(tick);
    };
    window.watch.next = requestAnimationFrame(tick);
  });
  await work();
  const { ticks, longest } = await page.evaluate(() => {
    cancelAnimationFrame(window.watch.next);
    return window.watch;
  });
  assert.ok(ticks > 10, `${ticks} frames`);
  assert.ok(longest < 10_000, `no frame for ${longest} ms`);
};

/** What makes a page usable on a phone: no sideways scrolling, targets that a finger can hit, text that does not zoom. */
export const assertFitsPhone = async (page) => {
  await page.setViewport(PHONE);
  const found = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    const targets = [...document.querySelectorAll("a, button, input")].map((element) => {
      const { width, height, right } = element.getBoundingClientRect();
      const fontSize = element.matches("input") ? parseFloat(getComputedStyle(element).fontSize) : 16;
      return { name: element.id || element.textContent, width, height, right, fontSize };
    });
    return { scrollWidth, clientWidth, targets };
  });
  assert.ok(found.scrollWidth <= found.clientWidth, `${found.scrollWidth} px wide on ${found.clientWidth} px`);
  assert.ok(found.targets.length > 0);
  for (const { name, width, height, right, fontSize } of found.targets) {
    assert.ok(height >= 44 && width >= 30 && right <= found.clientWidth, `${name}: ${width} × ${height} px, right ${right}`);
    assert.ok(fontSize >= 16, `${name}: ${fontSize} px`);
  }
};

/** Pictures of a page on a phone and a desk, light and dark, for people to look at. */
export const photograph = async (page, name) => {
  const directory = `${scratch}/pages`;
  mkdirSync(directory, { recursive: true });
  await page.bringToFront();
  for (const [size, viewport] of [["phone", PHONE], ["desktop", DESKTOP]]) {
    for (const scheme of ["light", "dark"]) {
      await page.setViewport(viewport);
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
      await page.screenshot({ path: `${directory}/${name}-${size}-${scheme}.png` });
    }
  }
  await page.setViewport(DESKTOP);
};

/** Clients of the crowd: as told by C2M_CROWD, or 50,000 and fewer where memory is short (both ends take some 10 kB). */
export const crowdSize = () => {
  const wanted = Number(process.env.C2M_CROWD ?? 50_000);
  const available = Number(/^MemAvailable:\s+(\d+) kB/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1] ?? 0) * 1024;
  const fits = Math.floor(available / 2 / 10_000 / 1_000) * 1_000;
  if (fits >= wanted) return wanted;
  console.log(`${wanted} clients do not fit into ${available} bytes of memory: ${fits} instead`);
  return fits;
};

const PORTS_LEFT = 2_000;
// Longer than any test takes, and not for ever should nobody be left to end it.
const HOLD_S = 240;

/** Fills the lobby with clients, who send heartbeats and stay until `leave` is called. */
export const startCrowd = async (server, clients, ratePerSecond = 10_000) => {
  mkdirSync(scratch, { recursive: true });
  const log = openSync(`${scratch}/crowd.log`, "w");
  // A port that anybody has bound can't be had by whoever lets the kernel choose one, on whichever address: some are left
  // to the browser.
  const [first, last] = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").split(/\s+/).map(Number);
  const ports = last - PORTS_LEFT - first;
  const sources = Array.from({ length: Math.ceil((clients * 1.05) / ports) }, (_, number) => ["--source", `127.0.0.${number + 1}`]);
  const flags = [...sources.flat(), "--source-ports", `${first}-${first + ports}`,
    "--clients", clients, "--rate", ratePerSecond, "--broadcasts", 0, "--hold-s", HOLD_S, "--observers", 0];
  const child = spawn(`${bin}/c2m-loadgen`, ["run", "--url", `${server.url}/websocket`, ...flags.map(String)], {
    stdio: ["ignore", log, log],
  });
  process.once("exit", () => child.kill());
  const ended = new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve(signal ?? code));
  });
  const failed = ended.then((how) => Promise.reject(new Error(`the crowd is gone (${how}), see ${scratch}/crowd.log`)));
  // Heard of below, or not at all once everyone has come.
  failed.catch(() => {});
  const joined = async () => {
    while ((await (await fetch(`http://${server.address}/stats`)).json()).joined < clients) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  await Promise.race([joined(), failed]);
  return { leave: () => { child.kill("SIGTERM"); return ended; } };
};
