// The load generator of 2015, with the scenario of 2015 at a smaller size, against this server: both count the same.
// And the same scenario, imported, with c2m's load generator: as many join.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, readdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startServer } from "./server.js";

const scenarioFile = fileURLToPath(new URL("tsung/rooms.xml", import.meta.url));
const harness = join(process.env.C2M_BIN ?? fileURLToPath(new URL("../target/release", import.meta.url)), "c2m");

async function counter(address, name) {
  const text = await (await fetch(`http://${address}/metrics`)).text();
  const values = [...text.matchAll(new RegExp(`^${name}\\{[^}]*\\} (\\d+)$`, "gm"))].map((match) => Number(match[1]));
  assert.notEqual(values.length, 0, `${name} in ${text}`);
  return values.reduce((sum, value) => sum + value);
}

// The last value that Tsung's log gives for one of its figures.
async function logged(directory, figure) {
  const [run] = await readdir(directory);
  const log = await readFile(join(directory, run, "tsung.log"), "utf8");
  return Number(log.match(new RegExp(`^stats: ${figure} .*?(\\d+)$(?![^]*^stats: ${figure} )`, "m"))[1]);
}

// What the imported scenario gives with the project's own load generator: the row of its only point.
async function imported() {
  const scratch = await mkdtemp(join(tmpdir(), "c2m-import-"));
  const experiment = join(scratch, "rooms.toml");
  await promisify(execFile)(harness, ["import", scenarioFile, "--out", experiment]);
  const run = await promisify(execFile)(harness, ["run", experiment, "--results", scratch, "--no-tui"]);
  const [header, ...rows] = (await readFile(join(run.stdout.trim(), "points.csv"), "utf8")).trim().split("\n");
  assert.equal(rows.length, 1);
  const values = rows[0].split(",");
  return Object.fromEntries(header.split(",").map((name, i) => [name, values[i]]));
}

test("Tsung holds its users, and the imported scenario joins as many", { timeout: 240_000 }, async () => {
  const server = await startServer("--idle-timeout-s", "0");
  const scratch = await mkdtemp(join(tmpdir(), "c2m-tsung-"));
  const scenario = await readFile(scenarioFile, "utf8");
  const users = Number(scenario.match(/maxnumber="(\d+)"/)[1]);
  const [config, logs] = [join(scratch, "rooms.xml"), join(scratch, "log")];
  await writeFile(config, scenario.replace('port="4000"', `port="${server.address.split(":").at(-1)}"`));
  // It keeps its state below the home directory.
  const tsung = spawn("tsung", ["-f", config, "-l", logs, "start"], { env: { ...process.env, HOME: scratch } });
  let said = "";
  tsung.stdout.on("data", (data) => (said += data));
  tsung.stderr.on("data", (data) => (said += data));
  const ended = new Promise((resolve) => tsung.once("exit", resolve));
  try {
    while ((await counter(server.address, "c2m_joined")) < users) {
      assert.equal(tsung.exitCode, null, `Tsung ended before its users had joined: ${said}`);
      await pause(100);
    }
    assert.equal(await ended, 0, said);
    assert.equal(await logged(logs, "users_count"), users);
    const joins = await counter(server.address, "c2m_joins_total");
    assert.equal(joins, users);
    while ((await counter(server.address, "c2m_joined")) > 0) await pause(100);
    const point = await imported();
    assert.deepEqual(
      [point.status, Number(point.attempted), Number(point.joined), Number(point.live_at_end), Number(point.dropped)],
      ["ok", joins, joins, joins, 0],
    );
  } finally {
    tsung.kill();
    await server.stop();
  }
});
