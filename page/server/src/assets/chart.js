// The charts of the last hour, with the time that the user has chosen.

import { by, clock, draw, figure, make } from "./dom.js";

/** Maximum time span of a chart, in seconds. */
export const HOUR = 3600;
/** Minimum time span of a chart, in seconds: one or two points make no curve. */
const SHORTEST = 60;

/** The series of the first chart. `target` is the target per pod. */
const concurrency = (target) => [
  { name: "in flight", tone: "load", of: (point) => point.concurrency, area: true },
  { name: "panic window", tone: "short thin", of: (point) => point.panic },
  { name: "stable window", tone: "long thin", of: (point) => point.stable },
  { name: "capacity at target", tone: "limit dashed", of: (point) => point.ready * (target ?? 0), step: true },
];
/** The series of the second chart. */
const REPLICAS = [
  { name: "ready", tone: "ready", of: (point) => point.ready, area: true, step: true },
  { name: "requested", tone: "requested thin", of: (point) => point.requested, step: true },
  { name: "desired", tone: "desired dashed thin", of: (point) => point.desired, step: true },
];

/** Returns the time span of the charts: [start, end], in seconds since 1970. */
function span(points) {
  const end = points.at(-1).t;
  return [Math.min(Math.max(points[0].t, end - HOUR), end - SHORTEST), end];
}

/** Returns the next round number that is not below the value. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 3, 5, 10].map((step) => step * power).find((top) => top >= value);
}

/**
 * Returns one SVG path per period with data. A path is straight between two points, or for a step series first
 * horizontal and then vertical.
 */
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
    if (!point.panic_mode || point.t < begin) return;
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
  by(`${id}-text`).textContent = `From ${clock(begin)} to ${clock(end)}. Now: ${values}. Maximum of ${all[0].name}: ${figure(peak)}.`;
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

/** Draws the charts of these points, and marks the time that the user has chosen. */
export function drawCharts(points, target) {
  const [begin, end] = span(points);
  const slider = by("moment");
  const share = slider.value / slider.max;
  const t = begin + share * (end - begin);
  // The last point that is not later than the chosen time.
  const moment = points.findLast((point) => point.t <= t) ?? points[0];
  const text = share === 1 ? "now" : clock(moment.t);
  by("at").textContent = text;
  slider.setAttribute("aria-valuetext", text);
  drawChart("load", concurrency(target), points, moment);
  drawChart("pods", REPLICAS, points, moment);
}

/** Sets the chosen time to the newest point. */
export function lookAtNow() {
  by("moment").value = by("moment").max;
}
