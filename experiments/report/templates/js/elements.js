// Elements in one expression: make("td", { class: "number" }, "18.2").
const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
const byId = (id) => document.getElementById(id);

function table(caption, head, body, attributes = {}) {
  const cells = (row, tag) => row.map((cell) => (cell instanceof Node ? cell : make(tag, tag === "th" ? { scope: "col" } : {}, String(cell))));
  return make("table", attributes, make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ...cells(head, "th"))),
    make("tbody", {}, ...body.map((row) => make("tr", {}, ...cells(row, "td")))));
}

// A table whose first `texts` columns are words; in the others numbers stand below one another.
function numberTable(caption, head, body, texts) {
  const cells = (row, tag, more = {}) => row.map((cell, at) => (cell instanceof Node ? cell : make(tag, { ...more, class: at < texts ? "words" : "number" }, String(cell))));
  return table(caption, cells(head, "th", { scope: "col" }), body.map((row) => cells(row, "td")));
}

// What may be wider than the window: scrolled by itself, from the keyboard too, and so it needs a name.
const scroller = (title, child) => make("div", { class: "wide", tabindex: 0, role: "region", "aria-label": title }, child);

// A labelled select: options are [value, text] or texts.
function select(label, options, value, onchange) {
  const pairs = options.map((option) => (Array.isArray(option) ? option : [option, option]));
  const field = make("select", { onchange: () => onchange(field.value) },
    ...pairs.map(([key, text]) => make("option", { value: key, selected: String(key) === String(value) }, text)));
  return make("label", {}, make("span", {}, label), field);
}

// Calls `work` when the element comes near the window, once.
function whenNear(element, work) {
  const watch = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watch.disconnect();
    work();
  }, { rootMargin: "600px" });
  watch.observe(element);
  return () => watch.disconnect();
}
