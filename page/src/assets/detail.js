// The workload that is shown: its figures, what is wrong with it, its settings, and why it was scaled.

import { HOUR, drawCharts } from "./chart.js";
import { by, clock, figure, figures, make } from "./dom.js";

/** Announcements for screen readers are at least so far apart, in ms. */
const SAY_EVERY = 5000;

let shown = null;
let saidAt = 0;

/** There is nothing to show, and why. */
export function missing(text) {
  shown = null;
  by("shown").hidden = true;
  by("nothing").hidden = false;
  by("nothing").textContent = text;
}

/** What is new of the one that is shown. */
export function news(news) {
  show(merged(shown, news));
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

/** All that is known of it. */
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
  redraw();
  announce(before, workload);
}

function problems({ refused, unknown, silent_pods, silent, scaled, opaque }) {
  const all = [];
  if (refused) all.push(refused);
  if (silent_pods > 0) {
    const more = silent_pods > silent.length ? " …" : "";
    all.push(`It does not shrink: not heard of ${silent.join(", ")}${more}.`);
  } else if (unknown) {
    all.push(`It does not shrink until this is known: ${unknown.why}.`);
  }
  if (scaled?.error) all.push(`The last change was refused: ${scaled.error}`);
  if (opaque > 0) all.push(`${opaque} of its connections cannot be read and count as one request each.`);
  by("problem").hidden = all.length === 0;
  by("problem").textContent = all.join(" ");
}

function scaled(change) {
  return change ? `${change.from} → ${change.to} at ${clock(change.at)}` : "–";
}

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

/** Draws the charts anew, where the page or the moment is another one. */
export function redraw() {
  if (shown?.history.length) drawCharts(shown.history, shown.workload.target);
}
