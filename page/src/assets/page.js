// The live page. Two streams of events feed it: the list of all workloads, and the one that is shown. Whatever is lost
// (the network, the program) comes back by itself: EventSource tries again, and what comes first is always everything.
"use strict";

/** Rows of the list that are drawn: more than fit on any screen, few enough for any browser. */
const DRAWN = 200;
/** What a chart looks back on, in seconds. */
const HOUR = 3600;
/** A chart shows at least so much, in seconds: a point or two are no curve. */
const SHORTEST = 60;
/** Announcements for screen readers are at least so far apart, in ms. */
const SAY_EVERY = 5000;

const by = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

/** An element with a class, text and children. */
function make(tag, { className, text, of = [], ...attributes } = {}) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...of);
  return node;
}

function draw(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

/** A number as people write it: not more digits than say something. */
function figure(number) {
  if (number === null || number === undefined || number < 0) return "–";
  if (number >= 100 || Number.isInteger(number)) return Math.round(number).toLocaleString("en");
  return number.toFixed(number >= 1 ? 1 : 2);
}

function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
}

// ---- The list ----------------------------------------------------------------------------------------------------

const rows = new Map();
let chosen = null;
let listIsDue = false;

/** Those that need somebody first, then by name. */
function inOrder() {
  const wanted = by("filter").value.trim().toLowerCase();
  const found = [...rows.values()].filter((row) => row.id.toLowerCase().includes(wanted));
  const rank = (row) => (row.attention ? 0 : row.panic ? 1 : 2);
  return found.sort((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1));
}

function listRow(row) {
  const name = make("a", { href: `#/${row.id}` });
  name.append(make("span", { className: "namespace", text: `${row.namespace}/` }), row.name);
  if (row.id === chosen) name.setAttribute("aria-current", "true");
  const marks = [];
  if (row.mode !== "act") marks.push(make("span", { className: "badge", text: row.mode }));
  if (row.panic) marks.push(make("span", { className: "badge bad", text: "panic" }));
  if (row.silent > 0) marks.push(make("span", { className: "badge bad", text: `${row.silent} silent` }));
  const pods = row.ready === row.replicas ? figure(row.ready) : `${figure(row.ready)} of ${row.replicas}`;
  const load = row.load === null ? "–" : `${Math.round(row.load * 100)} %`;
  const bar = draw("svg", { class: "bar", "aria-hidden": "true", viewBox: "0 0 100 10", preserveAspectRatio: "none" });
  bar.append(draw("rect", { width: Math.min(100, (row.load ?? 0) * 100), height: 10 }));
  if (row.load > 1) bar.dataset.over = "";
  const line = make("tr", {
    of: [
      make("td", { of: [name, ...marks] }),
      make("td", { className: "number", text: pods }),
      make("td", { className: "number", text: figure(row.in_flight + row.held) }),
      make("td", { of: [make("span", { className: "unseen", text: load }), bar] }),
    ],
  });
  line.dataset.id = row.id;
  if (row.id === chosen) line.dataset.chosen = "";
  return line;
}

function drawList() {
  listIsDue = false;
  const found = inOrder();
  const body = by("list").tBodies[0];
  const focused = document.activeElement?.closest?.("#list tr")?.dataset.id;
  body.replaceChildren(...found.slice(0, DRAWN).map(listRow));
  if (focused) [...body.rows].find((row) => row.dataset.id === focused)?.querySelector("a").focus();
  by("more").hidden = found.length <= DRAWN;
  by("more").textContent = `${DRAWN} of ${found.length.toLocaleString("en")} are shown; filter for others.`;
  const all = [...rows.values()];
  const sum = (of) => all.reduce((total, row) => total + of(row), 0);
  figures("totals", [
    ["workloads", all.length],
    ["pods", sum((row) => row.ready ?? 0)],
    ["in flight", sum((row) => row.in_flight + row.held)],
    ["in panic", sum((row) => (row.panic ? 1 : 0))],
    ["need a look", sum((row) => (row.attention ? 1 : 0))],
  ]);
}

/** Draws the list with the next frame, however much has changed until then. */
function listChanged() {
  if (!listIsDue) requestAnimationFrame(drawList);
  listIsDue = true;
}

/** Terms and numbers; the nodes stay, so that a reader's place does. */
function figures(id, pairs) {
  const list = by(id);
  if (list.children.length !== pairs.length) {
    list.replaceChildren(...pairs.map(() => make("div", { of: [make("dt"), make("dd")] })));
  }
  pairs.forEach(([term, value], index) => {
    const [dt, dd] = list.children[index].children;
    dt.textContent = term;
    dd.textContent = typeof value === "number" || value === null ? figure(value) : value;
  });
}

function told({ about, rows: changed, gone }) {
  // One that runs on this host has nobody to stand by for.
  const leads = about.program === "ebb run" ? "" : about.leading ? ", leads" : ", stands by";
  by("who").textContent = `${about.program} ${about.version}, ${about.replica}${leads}`;
  for (const row of changed) rows.set(row.id, row);
  for (const id of gone) rows.delete(id);
  if (chosen === null || (!rows.has(chosen) && !location.hash.startsWith("#/"))) chooseFirst();
  listChanged();
}

// ---- The one that is shown ---------------------------------------------------------------------------------------

let shown = null;
let stream = null;

/** Its name is in the address, so that it can be sent to somebody. */
function route() {
  if (!location.hash.startsWith("#/")) return;
  const id = decodeURIComponent(location.hash.slice(2));
  if (id !== chosen) choose(id);
}

function chooseFirst() {
  const first = inOrder()[0];
  if (first) choose(first.id);
}

function choose(id) {
  chosen = id;
  by("moment").value = by("moment").max;
  missing(`${id}: nothing heard yet.`);
  listen();
  listChanged();
}

/** Hears of the one that is chosen, from the beginning. */
function listen() {
  const id = chosen;
  shown = null;
  stream?.close();
  stream = new EventSource(`v1/events/${id}`);
  stream.addEventListener("all", (event) => show(JSON.parse(event.data)));
  stream.addEventListener("news", (event) => show(merged(shown, JSON.parse(event.data))));
  stream.addEventListener("gone", () => missing(`${id} is gone.`));
  stream.addEventListener("error", () => ends(stream, () => id === chosen && listen()));
}

/** What answers with an error, as a proxy may, ends an EventSource for good. */
function ends(source, again) {
  if (source?.readyState === EventSource.CLOSED) setTimeout(again, 5000);
}

function missing(text) {
  by("shown").hidden = true;
  by("nothing").hidden = false;
  by("nothing").textContent = text;
}

/** What was known with what is new; of the hour, what is new takes the place of what was of the same time. */
function merged(known, news) {
  const all = { ...known, ...news };
  if (news.history) {
    const from = news.history[0].t;
    const until = news.history.at(-1).t;
    const kept = known.history.filter((point) => point.t < from && point.t >= until - HOUR);
    all.history = [...kept, ...news.history];
  }
  return all;
}

function show(detail) {
  const before = shown;
  shown = detail;
  const { workload } = detail;
  by("nothing").hidden = true;
  by("shown").hidden = false;
  by("name").textContent = `${workload.namespace}/${workload.name}`;
  document.title = `${workload.name} · Ebb`;
  by("mode").textContent = workload.mode;
  by("panic").hidden = !workload.panic_mode;
  by("why").textContent = workload.reason ?? "nothing decided yet";
  problems(workload);
  figures("figures", [
    ["ready", workload.ready],
    ["asked for", workload.replicas],
    ["wanted", workload.desired],
    ["in flight", workload.in_flight],
    ["held", workload.held],
    ["target a pod", workload.target],
    ["burst room", workload.excess_burst_capacity === null ? null : String(workload.excess_burst_capacity)],
    ["last scaled", scaled(workload.scaled)],
  ]);
  if (before?.settings !== detail.settings) drawSettings(detail.settings);
  if (before?.decisions !== detail.decisions) drawDecisions(detail.decisions);
  drawCharts();
  announce(before, workload);
}

function problems({ refused, silent_pods, silent, scaled, opaque }) {
  const all = [];
  if (refused) all.push(refused);
  if (silent_pods > 0) {
    const more = silent_pods > silent.length ? " …" : "";
    all.push(`It does not shrink: not heard of ${silent.join(", ")}${more}.`);
  }
  if (scaled?.error) all.push(`The last change was refused: ${scaled.error}`);
  if (opaque > 0) all.push(`${opaque} of its connections cannot be read and count as one request each.`);
  by("problem").hidden = all.length === 0;
  by("problem").textContent = all.join(" ");
}

function scaled(change) {
  return change ? `${change.from} → ${change.to} at ${clock(change.at)}` : "–";
}

let saidAt = 0;

/** For those who do not see the numbers move. */
function announce(before, workload) {
  const other = before && before.workload.desired !== workload.desired;
  if (!other || Date.now() - saidAt < SAY_EVERY) return;
  saidAt = Date.now();
  by("said").textContent = `${workload.name}: ${workload.desired} pods wanted. ${workload.reason}`;
}

function drawSettings(settings) {
  const names = { annotation: "annotation", config: "config-autoscaler", default: "default" };
  const line = ({ key, value, from }) =>
    make("tr", { of: [key, value, names[from] ?? from].map((text) => make("td", { text })) });
  by("settings").tBodies[0].replaceChildren(...settings.map(line));
}

function drawDecisions(decisions) {
  const line = ({ at, ready, desired, panic_mode, reason }) => {
    const why = make("td", { text: reason });
    if (panic_mode) why.prepend(make("span", { className: "badge bad", text: "panic" }), " ");
    return make("tr", {
      of: [
        make("td", { text: clock(at) }),
        make("td", { className: "number", text: figure(ready) }),
        make("td", { className: "number", text: figure(desired) }),
        why,
      ],
    });
  };
  by("decisions").tBodies[0].replaceChildren(...decisions.map(line));
}

// ---- Charts ------------------------------------------------------------------------------------------------------

const LOAD = [
  { name: "in flight", tone: "load", of: (point) => point.load, area: true },
  { name: "panic window", tone: "short thin", of: (point) => point.panic },
  { name: "stable window", tone: "long thin", of: (point) => point.stable },
  { name: "target of the ready pods", tone: "limit dashed", of: (point) => point.ready * (shown.workload.target ?? 0), step: true },
];
const PODS = [
  { name: "ready", tone: "ready", of: (point) => point.ready, area: true, step: true },
  { name: "asked for", tone: "asked thin", of: (point) => point.replicas, step: true },
  { name: "wanted", tone: "wanted dashed thin", of: (point) => point.desired, step: true },
];

/** The time that is drawn. */
function span(points) {
  const end = points.at(-1).t;
  return [Math.min(Math.max(points[0].t, end - HOUR), end - SHORTEST), end];
}

/** A round number a little above. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 3, 5, 10].map((step) => step * power).find((top) => top >= value);
}

/** Stretches in which there is data, as lines: to the next point, or along and then up. */
function lines(points, series, x, y) {
  const stretches = [];
  let last = null;
  for (const point of points) {
    const value = series.of(point);
    if (value < 0) {
      last = null;
      continue;
    }
    const place = `${x(point.t).toFixed(1)} ${y(value).toFixed(1)}`;
    if (last === null) stretches.push({ from: x(point.t), path: `M${place}` });
    else if (series.step) stretches.at(-1).path += `H${x(point.t).toFixed(1)}V${y(value).toFixed(1)}`;
    else stretches.at(-1).path += `L${place}`;
    stretches.at(-1).to = x(point.t);
    last = value;
  }
  return stretches;
}

function drawChart(id, all, points, moment) {
  const svg = by(id);
  const { width, height } = svg.getBoundingClientRect();
  if (width === 0) return;
  const [left, right, top, bottom] = [44, width - 8, 8, height - 22];
  const [begin, end] = span(points);
  const most = Math.max(1, ...points.flatMap((point) => all.map((series) => series.of(point))));
  const ceiling = roundUp(most);
  const x = (t) => left + ((Math.max(t, begin) - begin) / (end - begin)) * (right - left);
  const y = (value) => bottom - (value / ceiling) * (bottom - top);
  const parts = [];
  points.forEach((point, index) => {
    if (!point.panicking || point.t < begin) return;
    const from = x(points[index - 1]?.t ?? point.t);
    parts.push(draw("rect", { class: "shade", x: from, y: top, width: x(point.t) - from, height: bottom - top }));
  });
  for (const share of [0, 0.5, 1]) {
    const level = y(share * ceiling);
    parts.push(draw("line", { class: "grid", x1: left, x2: right, y1: level, y2: level }));
    parts.push(draw("text", { x: left - 6, y: level + 4, "text-anchor": "end" }, figure(share * ceiling)));
  }
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle";
    const t = begin + share * (end - begin);
    parts.push(draw("text", { x: x(t), y: height - 6, "text-anchor": anchor }, clock(t)));
  }
  for (const series of all) {
    for (const { path, from, to } of lines(points, series, x, y)) {
      if (series.area) {
        parts.push(draw("path", { class: `area ${series.tone}`, d: `${path}L${to} ${bottom}L${from} ${bottom}Z` }));
      }
      parts.push(draw("path", { class: `line ${series.tone}`, d: path }));
    }
  }
  if (moment.t < end) {
    parts.push(draw("line", { class: "cursor", x1: x(moment.t), x2: x(moment.t), y1: top, y2: bottom }));
  }
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(...parts);
  legend(`${id}-legend`, all, moment);
  const now = points.at(-1);
  const peak = Math.max(...points.map(all[0].of));
  const values = all.map((series) => `${series.name} ${figure(series.of(now))}`).join(", ");
  by(`${id}-text`).textContent = `From ${clock(begin)} to ${clock(end)}. Now: ${values}. Most ${all[0].name}: ${figure(peak)}.`;
}

function legend(id, all, moment) {
  const list = by(id);
  if (list.children.length === 0) {
    const entry = ({ name, tone }) => {
      const sample = draw("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" });
      sample.append(draw("path", { class: `line ${tone}`, d: "M0 5H26" }));
      return make("li", { of: [sample, `${name} `, make("b")] });
    };
    list.replaceChildren(...all.map(entry));
  }
  all.forEach((series, index) => {
    list.children[index].querySelector("b").textContent = figure(series.of(moment));
  });
}

function drawCharts() {
  if (!shown?.history.length) return;
  const points = shown.history;
  const [begin, end] = span(points);
  const slider = by("moment");
  const share = slider.value / slider.max;
  const t = begin + share * (end - begin);
  // The last point that is not later.
  const moment = points.findLast((point) => point.t <= t) ?? points[0];
  const text = share === 1 ? "now" : clock(moment.t);
  by("at").textContent = text;
  slider.setAttribute("aria-valuetext", text);
  drawChart("load", LOAD, points, moment);
  drawChart("pods", PODS, points, moment);
}

// ---- The page ----------------------------------------------------------------------------------------------------

/** Keys that do not take anything from somebody who types. */
function key(event) {
  const typing = event.target.matches("input[type=search]");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    by("filter").focus();
  } else if (event.key === "Escape" && typing) {
    by("filter").value = "";
    listChanged();
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const links = [...by("list").querySelectorAll("a")];
    const here = links.indexOf(document.activeElement);
    if (here < 0 && !typing) return;
    event.preventDefault();
    links.at(Math.min(here + (event.key === "ArrowDown" ? 1 : -1), links.length - 1))?.focus();
  }
}

/** Asked for once, it stays so in this browser. */
function theme(next) {
  const order = ["system", "light", "dark"];
  let now = "system";
  try {
    now = localStorage.getItem("theme") ?? now;
    if (next) localStorage.setItem("theme", (now = order[(order.indexOf(now) + 1) % order.length]));
  } catch {
    // A browser that remembers nothing.
  }
  document.documentElement.dataset.theme = now;
  by("theme").textContent = `Theme: ${now}`;
}

let all = null;

/** Hears of all workloads, and of the one that is chosen. */
function follow() {
  let fresh = true;
  all?.close();
  all = new EventSource("v1/events");
  all.addEventListener("open", () => {
    by("connection").textContent = "live";
    by("connection").dataset.live = "";
    fresh = true;
  });
  all.addEventListener("error", () => {
    by("connection").textContent = "no answer; trying again";
    delete by("connection").dataset.live;
    ends(all, follow);
  });
  all.addEventListener("rows", (event) => {
    // After a new start those that are gone are not named.
    if (fresh) rows.clear();
    fresh = false;
    told(JSON.parse(event.data));
  });
  if (chosen !== null) listen();
}

/** A page nobody sees takes none of the few connections that a browser makes to one program. */
function rest() {
  all?.close();
  stream?.close();
}

function begin() {
  theme(false);
  by("theme").addEventListener("click", () => theme(true));
  by("filter").addEventListener("input", listChanged);
  by("moment").addEventListener("input", drawCharts);
  document.addEventListener("keydown", key);
  addEventListener("hashchange", route);
  new ResizeObserver(drawCharts).observe(by("one"));
  document.addEventListener("visibilitychange", () => (document.hidden ? rest() : follow()));
  route();
  follow();
}

begin();
