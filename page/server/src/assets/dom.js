// Functions that all parts of the page use: they create nodes and format numbers.

const SVG = "http://www.w3.org/2000/svg";

export const by = (id) => document.getElementById(id);

/** Creates an HTML element with a class, text and children. */
export function make(tag, { className, text, of = [], ...attributes } = {}) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...of);
  return node;
}

/** Creates an SVG element. */
export function draw(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

/** Formats a number for people, without insignificant digits. A missing or negative number becomes a dash. */
export function figure(number) {
  if (number === null || number === undefined || number < 0) return "–";
  if (number >= 100 || Number.isInteger(number)) return Math.round(number).toLocaleString("en");
  return number.toFixed(number >= 1 ? 1 : 2);
}

export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
}

/** Shows a list of terms and values. The nodes are reused, so that a screen reader keeps its position. */
export function figures(id, pairs) {
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
