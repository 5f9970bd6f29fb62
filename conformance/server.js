// Starts c2m-server on a port of its own choosing and stops it by closing its stdin, as the harness does.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const binary = process.env.C2M_SERVER ?? fileURLToPath(new URL("../target/release/c2m-server", import.meta.url));

// What carries the clients: every test is one of both engines.
const engine = process.env.C2M_ENGINE ?? "shards";

export async function startServer(...flags) {
  const child = spawn(binary, ["--stdio", "--engine", engine, ...flags], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((resolve, reject) => {
    child.once("error", (error) => reject(new Error(`can't start ${binary} (run "make build" first): ${error.message}`)));
    child.once("exit", (code, signal) => resolve(signal ?? code));
  });
  const ready = new Promise((resolve) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const event = JSON.parse(line);
      if (event.type === "ready") resolve(event);
    });
  });
  const early = ended.then((how) => Promise.reject(new Error(`server ended before it was ready: ${how}`)));
  const { address } = await Promise.race([ready, early]);
  return {
    address,
    url: `ws://${address}/socket`,
    async stop() {
      child.stdin.end();
      return ended;
    },
  };
}
