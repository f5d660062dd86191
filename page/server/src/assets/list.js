// The list of workloads. Workloads that need attention are first, and the number of drawn rows is limited.

import { by, draw, figure, figures, make } from "./dom.js";

/** Maximum number of drawn rows: more than fit on any screen, and few enough for any browser. */
const DRAWN = 200;

const rows = new Map();
let chosen = null;
let isDue = false;
/** Number of workloads that the program knows but does not send. */
let unlisted = 0;

/** Handles an event: new or changed rows, ids of deleted workloads, and the number of workloads that are not sent. */
export function told(news, gone, more) {
  unlisted = more;
  for (const row of news) rows.set(row.id, row);
  for (const id of gone) rows.delete(id);
  changed();
}

/** Removes all rows, because the next events contain all of them again. */
export function forget() {
  rows.clear();
}

export function has(id) {
  return rows.has(id);
}

/** Marks the workload that is shown. */
export function mark(id) {
  chosen = id;
  changed();
}

/** Returns the filtered rows: workloads that need attention first, then those in panic mode, and otherwise by name. */
export function inOrder() {
  const filter = by("filter").value.trim().toLowerCase();
  const found = [...rows.values()].filter((row) => row.id.toLowerCase().includes(filter));
  const rank = (row) => (row.needs_attention ? 0 : row.panic_mode ? 1 : 2);
  return found.sort((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1));
}

function line(row) {
  const name = make("a", { href: `#/${row.id}` });
  name.append(make("span", { className: "namespace", text: `${row.namespace}/` }), row.name);
  if (row.id === chosen) name.setAttribute("aria-current", "true");
  const marks = [];
  if (row.mode !== "act") marks.push(make("span", { className: "badge", text: row.mode }));
  if (row.panic_mode) marks.push(make("span", { className: "badge bad", text: "panic mode" }));
  if (row.pods_without_metrics > 0) {
    marks.push(make("span", { className: "badge bad", text: `${row.pods_without_metrics} without metrics` }));
  }
  const replicas =
    row.ready_replicas === row.requested_replicas
      ? figure(row.ready_replicas)
      : `${figure(row.ready_replicas)} of ${row.requested_replicas}`;
  const used = row.utilization === null ? "–" : `${Math.round(row.utilization * 100)} %`;
  const bar = draw("svg", { class: "bar", "aria-hidden": "true", viewBox: "0 0 100 10", preserveAspectRatio: "none" });
  bar.append(draw("rect", { width: Math.min(100, (row.utilization ?? 0) * 100), height: 10 }));
  if (row.utilization > 1) bar.dataset.over = "";
  const node = make("tr", {
    of: [
      make("td", { of: [name, ...marks] }),
      make("td", { className: "number", text: replicas }),
      make("td", { className: "number", text: figure(row.in_flight + row.queued) }),
      make("td", { of: [make("span", { className: "unseen", text: used }), bar] }),
    ],
  });
  node.dataset.id = row.id;
  if (row.id === chosen) node.dataset.chosen = "";
  return node;
}

function drawAll() {
  isDue = false;
  const found = inOrder();
  const body = by("list").tBodies[0];
  const focused = document.activeElement?.closest?.("#list tr")?.dataset.id;
  body.replaceChildren(...found.slice(0, DRAWN).map(line));
  if (focused) [...body.rows].find((row) => row.dataset.id === focused)?.querySelector("a").focus();
  const notes = [];
  if (found.length > DRAWN) notes.push(`${DRAWN} of ${found.length.toLocaleString("en")} are shown; filter for others.`);
  if (unlisted > 0) notes.push(`${unlisted.toLocaleString("en")} more workloads are not listed here; /v1/workloads has all of them.`);
  by("more").hidden = notes.length === 0;
  by("more").textContent = notes.join(" ");
  const all = [...rows.values()];
  const sum = (of) => all.reduce((total, row) => total + of(row), 0);
  figures("totals", [
    ["workloads", all.length],
    ["ready replicas", sum((row) => row.ready_replicas ?? 0)],
    ["in flight", sum((row) => row.in_flight + row.queued)],
    ["in panic mode", sum((row) => (row.panic_mode ? 1 : 0))],
    ["need attention", sum((row) => (row.needs_attention ? 1 : 0))],
  ]);
}

/** Draws the list once with the next frame, even after many changes. */
export function changed() {
  if (!isDue) requestAnimationFrame(drawAll);
  isDue = true;
}
