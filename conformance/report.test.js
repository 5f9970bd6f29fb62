// Report and index of committed runs in headless Chromium, from disk: no network, values under the pointer, both colour
// schemes, a phone, paper. Screenshots are left in SCRATCH for people.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import puppeteer from "puppeteer-core";

const c2m = (...args) => execFileSync(join(process.env.C2M_BIN, "c2m"), args, { encoding: "utf8" }).trim();
const HOSTILE = `</script><script>document.title="taken"</script><img src=x onerror='document.title="taken"'>`;
let results, report, index, browser;

before(async () => {
  results = mkdtempSync(join(tmpdir(), "c2m-report-"));
  cpSync(new URL("../results", import.meta.url), results, { recursive: true });
  const [run] = readdirSync(join(results, "sweep"));
  // A label that would be a script.
  const record = join(results, "sweep", run, "run.json");
  writeFileSync(record, JSON.stringify({ ...JSON.parse(readFileSync(record, "utf8")), label: HOSTILE }));
  report = c2m("report", join(results, "sweep", run));
  index = c2m("report", "--index", results);
  browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
});
after(async () => {
  await browser?.close();
  rmSync(results, { recursive: true });
});

const open = async (file, { width = 1280, height = 1000, scheme = "light" } = {}) => {
  const page = await browser.newPage();
  const complaints = [];
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => { if (!/^(file|data):/.test(request.url())) complaints.push(request.url()); });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.setViewport({ width, height });
  await page.goto(pathToFileURL(file).href);
  return { page, complaints };
};

for (const [name, file] of [["report", () => report], ["index", () => index]]) {
  test(`the ${name} fits a desk and a phone, light and dark, and wants nothing from a network`, async () => {
    const grounds = new Set();
    for (const scheme of ["light", "dark"]) {
      for (const width of [1280, 400]) {
        const { page, complaints } = await open(file(), { width, scheme });
        const { scrollWidth, clientWidth } = await page.$eval("html", ({ scrollWidth, clientWidth }) => ({ scrollWidth, clientWidth }));
        assert.ok(scrollWidth <= clientWidth, `${scrollWidth} px wide on ${clientWidth} px`);
        grounds.add(await page.$eval("body", (body) => getComputedStyle(body).backgroundColor));
        assert.deepEqual(complaints, []);
        assert.notEqual(await page.title(), "taken");
        assert.equal(await page.$("img"), null);
        await page.screenshot({ path: join(process.env.SCRATCH, `${name}-${scheme}-${width}.png`) });
        await page.close();
      }
    }
    assert.equal(grounds.size, 2, "dark is not light");
  });
}

test("every chart says the value under the pointer, and nothing where there is none", async () => {
  const { page, complaints } = await open(report);
  const tip = () => page.$eval(".tip", ({ hidden, textContent }) => (hidden ? null : textContent));
  const charts = [...readFileSync(report, "utf8").matchAll(/<figure id="([^"]+)".*?<\/figure>/gs)];
  assert.ok(charts.length >= 5);
  for (const [figure, name] of charts) {
    const spots = [...figure.matchAll(/<circle cx="(\d+)" cy="(\d+)" r="80"><title>([^<]+)</g)];
    // A chart that draws nothing has nothing to say.
    if (spots.length === 0) continue;
    const [, x, y, text] = spots[Math.floor(spots.length / 2)];
    const box = await page.$$eval(`#${name} svg`, (all) => {
      const shown = all.find((svg) => svg.checkVisibility());
      shown.scrollIntoView({ block: "center" });
      const { x, y, width } = shown.getBoundingClientRect();
      return { x, y, units: shown.viewBox.baseVal.width / width };
    });
    await page.mouse.move(box.x + x / box.units, box.y + y / box.units);
    assert.equal(await tip(), text.replaceAll("&#10;", "\n"), name);
    await page.mouse.move(box.x + 3, box.y + 3);
    assert.equal(await tip(), null, name);
  }
  assert.deepEqual(complaints, []);
});

test("on paper everything that is folded is open, and folded again afterwards", async () => {
  const { page } = await open(report);
  const folded = () => page.$$eval("details:not([open])", (all) => all.length);
  const before = await folded();
  assert.ok(before > 0);
  await page.evaluate(() => dispatchEvent(new Event("beforeprint")));
  assert.equal(await folded(), 0);
  await page.evaluate(() => dispatchEvent(new Event("afterprint")));
  assert.equal(await folded(), before);
  const pdf = await page.pdf({ format: "A4" });
  assert.ok(pdf.length > 100_000);
});

test("the index leads to the reports", async () => {
  const { page } = await open(index);
  await Promise.all([page.waitForNavigation(), page.click("#sweep a")]);
  assert.match(await page.$eval("h1", (heading) => heading.textContent), /two million/);
});
