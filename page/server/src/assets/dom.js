// What the parts of the page share: nodes, and figures as people write them.

const SVG = "http://www.w3.org/2000/svg";

export const by = (id) => document.getElementById(id);

/** An element with a class, text and children. */
export function make(tag, { className, text, of = [], ...attributes } = {}) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...of);
  return node;
}

/** A node of a drawing. */
export function draw(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

/** A number as people write it: not more digits than say something. */
export function figure(number) {
  if (number === null || number === undefined || number < 0) return "–";
  if (number >= 100 || Number.isInteger(number)) return Math.round(number).toLocaleString("en");
  return number.toFixed(number >= 1 ? 1 : 2);
}

export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
}

/** Terms and numbers; the nodes stay, so that a reader's place does. */
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
