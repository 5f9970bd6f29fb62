// The load generator of 2015, with the scenario of 2015 at a smaller size, against this server: both count the same.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, readdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { startServer } from "./server.js";

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

test("Tsung holds its users, all joined", { timeout: 120_000 }, async () => {
  const server = await startServer("--idle-timeout-s", "0");
  const scratch = await mkdtemp(join(tmpdir(), "c2m-tsung-"));
  const scenario = await readFile(new URL("tsung/rooms.xml", import.meta.url), "utf8");
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
    assert.equal(await counter(server.address, "c2m_joins_total"), users);
    while ((await counter(server.address, "c2m_joined")) > 0) await pause(100);
  } finally {
    tsung.kill();
    await server.stop();
  }
});
