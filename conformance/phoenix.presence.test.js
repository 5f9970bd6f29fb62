// The Presence class of the official client agrees with the server about who is there.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Presence } from "phoenix";
import { answer, connect, until } from "./client.js";
import { startServer } from "./server.js";

let server;
before(async () => { server = await startServer(); });
after(() => server.stop());

const enter = async (t, key, meta = {}) => {
  const room = connect(t, server.url).channel("presence:lobby", { key, meta });
  const presence = new Presence(room);
  assert.equal((await answer(room.join())).status, "ok");
  return { room, presence };
};

const list = (presence) => Object.fromEntries(presence.list((key, { metas }) => [key, metas.map(({ age }) => age)]));

const shows = ({ presence }, expected) => until(
  (look) => presence.onSync(look),
  () => { try { assert.deepEqual(list(presence), expected); return true; } catch { return false; } },
);

test("protocol points 71 to 75: state and diffs agree in every client, whoever comes, changes and goes", async (t) => {
  const ann = await enter(t, "ann", { age: 1 });
  await shows(ann, { ann: [1] });
  const ben = await enter(t, "ben", { age: 2 });
  const again = await enter(t, "ann", { age: 3 });
  for (const member of [ann, ben, again]) await shows(member, { ann: [1, 3], ben: [2] });

  const left = new Promise((resolve) => ann.presence.onLeave((key, _current, gone) => resolve([key, gone.metas[0].age])));
  assert.equal((await answer(ben.room.push("update", { meta: { age: 4 } }))).status, "ok");
  for (const member of [ann, ben, again]) await shows(member, { ann: [1, 3], ben: [4] });
  await left;

  again.room.leave();
  for (const member of [ann, ben]) await shows(member, { ann: [1], ben: [4] });
  ben.room.socket.disconnect();
  await shows(ann, { ann: [1] });
});
