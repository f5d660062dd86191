// The live page. Two streams of events feed it: the list of all workloads, and the one that is shown.

import { lookAtNow } from "./chart.js";
import * as detail from "./detail.js";
import { by } from "./dom.js";
import * as list from "./list.js";
import { hear } from "./stream.js";

/** The id of the workload that is shown. */
let chosen = null;
/** What ends the streams. */
let deafToAll = () => {};
let deafToOne = () => {};

/** The id of the workload is in the address, so that a link leads to it. */
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

/** Opens the stream of events about the chosen workload. */
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
      // After a reconnect the events do not name workloads that are gone.
      if (fresh) list.forget();
      fresh = false;
      told(all);
    },
  });
}

function told({ about, rows, gone, unlisted }) {
  // `ebb run` has no other replica.
  const leads = about.program === "ebb run" ? "" : about.leading ? ", leads" : ", standby";
  by("who").textContent = `${about.program} ${about.version}, ${about.replica}${leads}`;
  list.told(rows, gone, unlisted);
  if (chosen === null || (!list.has(chosen) && !location.hash.startsWith("#/"))) {
    const first = list.inOrder()[0];
    if (first) choose(first.id);
  }
}

/** Opens both streams of events. */
function follow() {
  hearAll();
  if (chosen !== null) hearOne();
}

/** A hidden page closes its streams: a browser opens only a few connections to one server. */
function rest() {
  deafToAll();
  deafToOne();
}

/** Handles keys, except for those that a person types into the filter. */
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

/** Sets the theme, and remembers it in this browser. */
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
