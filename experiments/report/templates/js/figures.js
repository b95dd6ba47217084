// The parts of the page that are drawn: each when it comes near the window, and again when a choice or the width changes.
const figures = [];

// `work(part)` fills the part of a section anew; `names` are the choices that it depends on.
function section(id, names, work) {
  const part = byId(`${id}-part`);
  byId(`${id}-section`).hidden = false;
  const figure = { part, stale: true, forget: () => {} };
  figure.update = () => {
    figure.stale = false;
    part.replaceChildren();
    work(part);
  };
  figure.spoil = () => {
    figure.forget();
    figure.stale = true;
    figure.forget = whenNear(part, figure.update);
  };
  figure.spoil();
  onChoice(names, figure.spoil);
  figures.push(figure);
}

let width = document.documentElement.clientWidth;
let waiting = 0;
addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    if (document.documentElement.clientWidth === width) return;
    width = document.documentElement.clientWidth;
    for (const figure of figures) if (figure.part.querySelector("svg")) figure.spoil();
  }, 150);
});
addEventListener("beforeprint", () => figures.filter((figure) => figure.stale).forEach((figure) => figure.update()));

// A chart with its caption, its legend and, for those who want or need them, its numbers.
function showChart(part, spec, { title, caption }) {
  const holder = make("div", { class: "wide" });
  const figure = make("figure", {}, make("figcaption", {}, make("strong", {}, `${title}. `), caption), holder);
  part.append(figure);
  const drawn = chart(holder, { ...spec, says: `${title}: ${says(spec)}` });
  holder.append(drawn.svg);
  const lines = spec.panels.flatMap((panel) => panel.lines);
  const names = drawn.labelled ? null : legend(lines, spec);
  if (names) figure.insertBefore(names, holder);
  figure.append(numbers(spec, title));
}

function says(spec) {
  const lines = [...new Set(spec.panels.flatMap((panel) => panel.lines.map((line) => line.name)))];
  const names = lines.length > 6 ? `${lines.slice(0, 6).join(", ")} and ${lines.length - 6} more` : lines.join(", ");
  const panels = spec.panels.length > 1 ? `, panels ${spec.panels.map((panel) => panel.title).join(", ")}` : "";
  return `${spec.ylabel} against ${spec.xlabel}; ${names}${panels}. The numbers stand below the figure.`;
}

function numbers(spec, title) {
  const details = make("details", { class: "numbers" }, make("summary", {}, "The numbers"));
  details.addEventListener("toggle", () => {
    if (details.childElementCount > 1) return;
    const band = spec.panels.some((panel) => panel.lines.some((line) => line.low));
    const body = spec.panels.flatMap((panel) => panel.lines.flatMap((line) => line.x.map((value, at) => [
      line.name, panel.title, line.points?.[at] ?? tickText(value), number(line.y[at]), ...(band ? [number(line.low?.[at]), number(line.high?.[at])] : []),
    ])));
    const head = ["line", "panel", spec.xlabel, spec.ylabel, ...(band ? ["lower end", "upper end"] : [])];
    details.append(scroller(`Numbers of ${title}`, numberTable(title, head, body, 2)));
  });
  return details;
}

const nothing = (part, text) => part.append(make("p", { class: "quiet" }, text));
const howMany = (shown, all) => (shown < all ? ` The first ${shown} of ${all} rows of the table, as it is filtered and sorted; “Lines” shows more.` : "");

// Panels of lines for rows: `line(row)` gives { x, y, low, high, texts } or null.
function panelsOf(rows, line) {
  const look = looks(rows.map(seriesOf));
  const panels = new Map();
  for (const row of rows) {
    const found = line(row);
    if (!found || !found.x.length) continue;
    const title = panelOf(row);
    if (!panels.has(title)) panels.set(title, []);
    panels.get(title).push({ name: seriesOf(row), look: look.get(seriesOf(row)), ...found });
  }
  return [...panels].map(([title, lines]) => ({ title, lines }));
}
