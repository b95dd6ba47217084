// Every cell: its state, its difference to the baseline, and opened its whole configuration.
let baseline = null;
const wholeConfig = (cell) => ({ ...data.shared, ...data.cells[cell].config });

function startCells() {
  if (!data.cells.length) return;
  const configured = data.cells.map((cell, index) => [String(index), cell.name]).filter(([index]) => data.cells[index].config);
  const compared = data.statistics.baseline.of.flatMap((other, row) => (other === row ? data.rows[row].cells : []));
  baseline = (configured.find(([index]) => compared.includes(Number(index))) ?? configured[0])?.[0] ?? null;
  if (configured.length > 1) byId("cells-controls").append(select("Baseline", configured, baseline, (value) => {
    baseline = value;
    for (const details of document.querySelectorAll("details.cell[open]")) openCell(details);
  }));
  section("cells", ["words", "sort"], (part) => {
    part.append(make("p", {}, "Opened, a cell shows in what its configuration differs from the baseline's, and the whole of it."),
      ...sortedRows(visibleRows()).flatMap((row) => data.rows[row].cells.map(cellDetails)));
  });
}

function cellDetails(index) {
  const cell = data.cells[index];
  const progress = ["running", "interrupted"].includes(cell.state) && cell.max_steps ? ` step ${cell.step} of ${cell.max_steps}` : "";
  const details = make("details", { class: "cell", "data-cell": index },
    make("summary", {}, make("span", { class: `state ${cell.state}` }, cell.state), ` ${cell.name}`, make("span", { class: "quiet" }, progress), cell.message ? make("span", { class: "fault" }, ` ${cell.message}`) : ""));
  details.addEventListener("toggle", () => details.open && openCell(details));
  return details;
}

function openCell(details) {
  const index = Number(details.dataset.cell);
  const cell = data.cells[index];
  while (details.childElementCount > 1) details.lastChild.remove();
  const own = wholeConfig(index);
  details.append(make("dl", { class: "facts" }, make("dt", {}, "run"), make("dd", {}, make("code", {}, cell.run ?? "none yet")),
    ...Object.entries(cell.overrides ?? {}).flatMap(([key, value]) => [make("dt", {}, key), make("dd", {}, make("code", {}, value))])));
  if (!cell.config) {
    details.append(make("p", { class: "quiet" }, "There is no configuration yet: the cell has not been started."));
    return;
  }
  const other = wholeConfig(Number(baseline));
  const keys = [...new Set([...Object.keys(other), ...Object.keys(own)])].filter((key) => own[key] !== other[key]);
  const title = `Difference to ${data.cells[baseline].name}`;
  const code = (value) => (value === undefined ? "–" : make("code", {}, value));
  details.append(Number(baseline) === index ? make("p", { class: "quiet" }, "This is the baseline.")
    : keys.length === 0 ? make("p", { class: "quiet" }, `No difference to ${data.cells[baseline].name}.`)
      : scroller(`Difference of ${cell.name} to ${data.cells[baseline].name}`, table(title, ["option", "baseline", "this cell"], keys.map((key) => [make("th", { scope: "row" }, key), make("td", {}, code(other[key])), make("td", {}, code(own[key]))]))));
  const lines = Object.keys(own).sort().map((key) => `${key}: ${own[key]}`).join("\n");
  details.append(make("details", { class: "numbers" }, make("summary", {}, "The whole configuration"), make("pre", { tabindex: 0 }, lines)));
}
