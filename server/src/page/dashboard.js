// The dashboard: draws the frames that the server streams once a second.
"use strict";
const element = (id) => document.getElementById(id);
const SHOWN_MS = 120_000, STALE_MS = 5_000, BUSY_RETRY_MS = 5_000, GAP_MS = 2_500;
const WIDTH = 240, HEIGHT = 48;
const NONE = "–";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
// Rates below ten are told with a decimal: one heartbeat in two seconds is not none.
const rate = (value) => (value > 0 && value < 10 ? tenths : whole).format(value);
const bytes = (value) => {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(Math.max(Math.floor(Math.log10(Math.max(value, 1)) / 3), 0), units.length - 1);
  return `${(power ? tenths : whole).format(value / 1000 ** power)} ${units[power]}`;
};
const duration = (seconds) => {
  const [days, hours, minutes] = [seconds / 86_400, (seconds / 3_600) % 24, (seconds / 60) % 60].map(Math.floor);
  if (days) return `${days} d ${hours} h`;
  return hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
};
const several = (count, what) => `${whole.format(count)} ${what}${count === 1 ? "" : "s"}`;

// What each tile shows of a frame: the value that is drawn, how it is written, its unit, and a line more.
const TILES = [
  { id: "members", title: "Members", value: (f) => f.members, write: whole.format, unit: "",
    more: (f) => `${several(f.clients, "client")}${f.queued ? `, ${whole.format(f.queued)} not keeping up` : ""}` },
  { id: "fan-out", title: "Last broadcast", value: (f) => f.last_broadcast?.fan_out_ms, write: tenths.format, unit: " ms",
    more: (f) => f.last_broadcast ? `to ${several(f.last_broadcast.members, "member")}; ${whole.format(f.broadcasts)} so far` : "none yet" },
  { id: "memory", title: "Memory per client", value: (f) => f.rss_bytes_per_client, write: whole.format, unit: " B",
    more: (f) => f.rss_bytes === null ? "not told by this host"
      : `${f.rss_bytes_per_client === null ? "from 1,000 clients on; " : ""}${bytes(f.rss_bytes)} in all` },
  { id: "joins", title: "Joins", value: (f) => f.joins_per_s, write: rate, unit: "/s", more: () => "" },
  { id: "messages", title: "Messages in", value: (f) => f.messages_in_per_s, write: rate, unit: "/s",
    more: (f) => f.bytes_in_per_s === null ? "" : `${bytes(f.bytes_in_per_s)}/s` },
  { id: "deliveries", title: "Deliveries", value: (f) => f.deliveries_per_s, write: rate, unit: "/s",
    more: (f) => f.bytes_out_per_s === null ? "" : `${bytes(f.bytes_out_per_s)}/s` },
];

const make = (name, className, ...children) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
};
const makeSvg = (name, className) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  made.setAttribute("class", className);
  return made;
};
// Touched only when it changes, which spares the browser the layout.
const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };

for (const tile of TILES) {
  const title = make("h2", "", tile.title);
  tile.number = make("span", "", NONE);
  tile.number.id = tile.id;
  tile.extra = make("div", "more");
  tile.peak = make("span", "");
  const svg = makeSvg("svg", "spark");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  tile.area = makeSvg("path", "area");
  tile.line = makeSvg("path", "line");
  svg.append(tile.area, tile.line);
  tile.small = make("small");
  const value = make("div", "value", tile.number, tile.small);
  element("tiles").append(make("section", "tile", title, value, tile.extra, svg, make("div", "peak", tile.peak)));
  tile.points = [];
}

const draw = (tile, now) => {
  const { points } = tile;
  const highest = points.reduce((highest, { value }) => Math.max(highest, value), 0);
  let line = "", area = "", start, last;
  const end = () => { if (last) area += `L${last.x} ${HEIGHT}L${start} ${HEIGHT}Z`; };
  for (const { at, value } of points) {
    const x = (WIDTH * (1 - (now - at) / SHOWN_MS)).toFixed(1);
    const y = (HEIGHT - 2 - (HEIGHT - 5) * (highest ? value / highest : 0)).toFixed(1);
    // Where nothing was heard nothing is drawn.
    const isNew = !last || at - last.at > GAP_MS;
    if (isNew) { end(); start = x; }
    line += `${isNew ? "M" : "L"}${x} ${y}`;
    area += `${isNew ? "M" : "L"}${x} ${y}`;
    last = { x, at };
  }
  end();
  tile.line.setAttribute("d", line);
  tile.area.setAttribute("d", area);
  write(tile.peak, points.length ? `highest ${tile.write(highest)}${tile.unit}` : "");
};

const drawLoads = (list, loads) => {
  while (list.childElementCount > loads.length) list.lastElementChild.remove();
  while (list.childElementCount < loads.length) {
    const [name, share, fill, more] = [make("span"), make("span", "share"), make("i"), make("span", "more")];
    const item = make("li", "", make("div", "row", name, share), make("div", "bar", fill), more);
    Object.assign(item, { parts: { name, share, fill, more } });
    list.append(item);
  }
  loads.forEach(({ name, busy, more }, index) => {
    const { parts } = list.children[index];
    write(parts.name, name);
    write(parts.share, busy === null ? NONE : `${whole.format(busy * 100)} %`);
    write(parts.more, more);
    parts.fill.style.width = `${(busy ?? 0) * 100}%`;
  });
};

const show = (frame) => {
  for (const tile of TILES) {
    const value = tile.value(frame) ?? null, newest = tile.points.at(-1);
    // Another server, or the same one on a machine that was restarted.
    if (newest && newest.at > frame.at_ms) tile.points = [];
    // The newest frame comes again to whoever comes again.
    if (value !== null && newest?.at !== frame.at_ms) tile.points.push({ at: frame.at_ms, value });
    while (tile.points.length && frame.at_ms - tile.points[0].at > SHOWN_MS) tile.points.shift();
    write(tile.number, value === null ? NONE : tile.write(value));
    write(tile.small, value === null ? "" : tile.unit);
    write(tile.extra, tile.more(frame));
    draw(tile, frame.at_ms);
  }
  drawLoads(element("shards"), frame.shards.map(({ clients, busy }, number) => (
    { name: `shard ${number}`, busy, more: several(clients, "client") })));
  drawLoads(element("cores"), frame.cores.map(({ core, busy }) => ({ name: `core ${core}`, busy, more: "" })));
  write(element("uptime"), duration(frame.uptime_s));
  write(element("watchers"), whole.format(frame.watchers));
};

const setState = (text, isGood = false) => {
  write(element("state"), text);
  element("state").classList.toggle("good", isGood);
};

let heard = performance.now();
const watch = () => {
  const stream = new EventSource("dashboard/stream");
  stream.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    heard = performance.now();
    setState(frame.is_draining ? "draining" : "live", !frame.is_draining);
    show(frame);
  };
  stream.onerror = () => {
    // The browser comes again by itself after a lost connection, and never after a refusal: as many watch as may.
    if (stream.readyState !== EventSource.CLOSED) return setState("reconnecting");
    setState("refused, trying again");
    setTimeout(watch, BUSY_RETRY_MS);
  };
};
setInterval(() => {
  const silent = performance.now() - heard;
  if (silent > STALE_MS && element("state").classList.contains("good")) setState("no news from the server");
}, 1_000);
watch();
