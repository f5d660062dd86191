// Shows one workload: its replicas and requests, its problems, its settings, and its last decisions.

import { HOUR, drawCharts } from "./chart.js";
import { by, clock, figure, figures, make } from "./dom.js";

/** Minimum time between two announcements for screen readers, in ms. */
const SAY_EVERY = 5000;

let shown = null;
let saidAt = 0;

/** Shows a text, and no workload. */
export function missing(text) {
  shown = null;
  by("shown").hidden = true;
  by("nothing").hidden = false;
  by("nothing").textContent = text;
}

/** Handles an event with changes of the shown workload. */
export function news(news) {
  show(merged(shown, news));
}

/** Merges the changes of an event into the known data. New points of the history replace points of the same time. */
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

/** Shows all data of a workload. */
export function show(detail) {
  const before = shown;
  shown = detail;
  const { workload } = detail;
  by("nothing").hidden = true;
  by("shown").hidden = false;
  by("name").textContent = `${workload.namespace}/${workload.name}`;
  document.title = `${workload.name} · Ebb`;
  by("mode").textContent = workload.mode;
  by("panic").hidden = !workload.panic_mode;
  by("why").textContent = workload.reason ?? "no decision yet";
  counted(workload.counted_at);
  problems(workload);
  figures("figures", [
    ["ready replicas", workload.ready_replicas],
    ["requested replicas", workload.requested_replicas],
    ["desired replicas", workload.desired_replicas],
    ["in flight", workload.in_flight],
    ["queued", workload.queued],
    ["target per pod", workload.target],
    ["excess burst capacity", workload.excess_burst_capacity === null ? null : String(workload.excess_burst_capacity)],
    ["last scaled", scaled(workload.scaled)],
  ]);
  if (before?.settings !== detail.settings) drawSettings(detail.settings);
  if (before?.decisions !== detail.decisions) drawDecisions(detail.decisions);
  redraw();
  announce(before, workload);
}

/** Shows the hops at which the requests of the pods are counted. During a rollout there can be several. */
function counted(at) {
  const one = ({ text, pods }) => (at.length > 1 ? `${text}: ${pods} ${pods === 1 ? "pod" : "pods"}` : text);
  const all = at.map(one).join("; ");
  by("counted").hidden = at.length === 0;
  by("counted").textContent = `Requests are ${all}.`;
}

function problems(workload) {
  const { not_scaled, unknown, pods_without_metrics, without_metrics, scaled, opaque } = workload;
  const all = [];
  if (not_scaled) all.push(not_scaled);
  for (const { pod, why } of workload.not_counted) all.push(`${pod} is not counted: ${why}.`);
  if (pods_without_metrics > 0) {
    const more = pods_without_metrics > without_metrics.length ? " …" : "";
    all.push(`Not scaled down: no current metrics of ${without_metrics.join(", ")}${more}.`);
  } else if (unknown) {
    all.push(`Not scaled down because information is missing: ${unknown.why}.`);
  }
  if (scaled?.error) all.push(`The last scale write failed: ${scaled.error}`);
  if (opaque > 0) all.push(`${opaque} connections cannot be read. Each counts as one request in flight.`);
  for (const { advice } of workload.counted_at) if (advice) all.push(`Counted at the edge: ${advice}.`);
  by("problem").hidden = all.length === 0;
  by("problem").textContent = all.join(" ");
}

function scaled(change) {
  return change ? `${change.from} → ${change.to} at ${clock(change.at)}` : "–";
}

/** Announces a change of the desired replicas to screen readers. */
function announce(before, workload) {
  const other = before && before.workload.desired_replicas !== workload.desired_replicas;
  if (!other || Date.now() - saidAt < SAY_EVERY) return;
  saidAt = Date.now();
  by("said").textContent = `${workload.name}: ${workload.desired_replicas} replicas desired. ${workload.reason}`;
}

function drawSettings(settings) {
  const names = { annotation: "annotation", config: "config-autoscaler", default: "default" };
  const line = ({ key, value, from }) =>
    make("tr", { of: [key, value, names[from] ?? from].map((text) => make("td", { text })) });
  by("settings").tBodies[0].replaceChildren(...settings.map(line));
}

function drawDecisions(decisions) {
  const line = ({ at, ready_replicas, desired_replicas, panic_mode, reason }) => {
    const why = make("td", { text: reason });
    if (panic_mode) why.prepend(make("span", { className: "badge bad", text: "panic mode" }), " ");
    return make("tr", {
      of: [
        make("td", { text: clock(at) }),
        make("td", { className: "number", text: figure(ready_replicas) }),
        make("td", { className: "number", text: figure(desired_replicas) }),
        why,
      ],
    });
  };
  by("decisions").tBodies[0].replaceChildren(...decisions.map(line));
}

/** Draws the charts again, after a change of their size or of the chosen time. */
export function redraw() {
  if (shown?.history.length) drawCharts(shown.history, shown.workload.target);
}
