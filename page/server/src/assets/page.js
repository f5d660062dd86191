// The live page. It receives two streams of events: one for the list of all workloads, one for the shown workload.

import { lookAtNow } from "./chart.js";
import * as detail from "./detail.js";
import { by } from "./dom.js";
import * as list from "./list.js";
import { hear } from "./stream.js";

/** The id of the shown workload; null if there is none. */
let chosen = null;
/** Functions that close the streams. */
let deafToAll = () => {};
let deafToOne = () => {};

/** Shows the workload whose id is in the page's address, so that links to a workload work. */
function route() {
  if (!location.hash.startsWith("#/")) return;
  const id = decodeURIComponent(location.hash.slice(2));
  if (id !== chosen) choose(id);
}

function choose(id) {
  chosen = id;
  lookAtNow();
  detail.missing(`${id}: no data yet.`);
  hearOne();
  list.mark(id);
}

/** Opens the event stream of the shown workload. */
function hearOne() {
  const id = chosen;
  deafToOne();
  deafToOne = hear(`v1/events/${id}`, {
    all: detail.show,
    news: detail.news,
    gone: () => detail.missing(`${id} is gone.`),
  });
}

function hearAll() {
  let fresh = true;
  deafToAll();
  deafToAll = hear("v1/events", {
    open: () => {
      by("connection").textContent = "live";
      by("connection").dataset.live = "";
      fresh = true;
    },
    error: () => {
      by("connection").textContent = "no answer; trying again";
      delete by("connection").dataset.live;
    },
    rows: (all) => {
      // After a reconnect, the events do not contain the ids of workloads that were deleted meanwhile.
      if (fresh) list.forget();
      fresh = false;
      told(all);
    },
  });
}

function told({ about, rows, gone, unlisted }) {
  // `ebb run` has only one replica, so it shows no leader.
  const leads = about.program === "ebb run" ? "" : about.leading ? ", leads" : ", standby";
  by("who").textContent = `${about.program} ${about.version}, ${about.replica}${leads}`;
  list.told(rows, gone, unlisted);
  if (chosen === null || (!list.has(chosen) && !location.hash.startsWith("#/"))) {
    const first = list.inOrder()[0];
    if (first) choose(first.id);
  }
}

/** Opens both event streams. */
function follow() {
  hearAll();
  if (chosen !== null) hearOne();
}

/** Closes both event streams while the page is hidden: a browser opens only a few connections to one server. */
function rest() {
  deafToAll();
  deafToOne();
}

/** Handles keyboard shortcuts. Keys that are typed into the filter are left to the filter. */
function key(event) {
  const typing = event.target.matches("input[type=search]");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    by("filter").focus();
  } else if (event.key === "Escape" && typing) {
    by("filter").value = "";
    list.changed();
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const links = [...by("list").querySelectorAll("a")];
    const here = links.indexOf(document.activeElement);
    if (here < 0 && !typing) return;
    event.preventDefault();
    links.at(Math.min(here + (event.key === "ArrowDown" ? 1 : -1), links.length - 1))?.focus();
  }
}

/** Applies the stored theme. If `next` is true, switches to the next theme and stores it in this browser. */
function theme(next) {
  const order = ["system", "light", "dark"];
  let now = "system";
  try {
    now = localStorage.getItem("theme") ?? now;
    if (next) localStorage.setItem("theme", (now = order[(order.indexOf(now) + 1) % order.length]));
  } catch {
    // The browser does not allow stored data: the theme is not remembered.
  }
  document.documentElement.dataset.theme = now;
  by("theme").textContent = `Theme: ${now}`;
}

theme(false);
by("theme").addEventListener("click", () => theme(true));
by("filter").addEventListener("input", list.changed);
by("moment").addEventListener("input", detail.redraw);
document.addEventListener("keydown", key);
addEventListener("hashchange", route);
new ResizeObserver(detail.redraw).observe(by("one"));
document.addEventListener("visibilitychange", () => (document.hidden ? rest() : follow()));
hearAll();
route();
