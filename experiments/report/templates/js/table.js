// The table of results: what is chosen above it decides its numbers, its headers sort it.
const SHOWS = [["std", "mean ± standard deviation"], ["interval", "95 % interval of the mean"]];

function columns() {
  const found = shownLabels.map((at) => ({ id: `label.${at}`, text: LABELS[at] }));
  (data.steps[at("setting")] ?? []).forEach((steps, index) => found.push({ id: `step.${index}`, text: stepsName(steps), step: index }));
  return [...found, { id: "note", text: "missing" }];
}

function resultsTable() {
  const rows = sortedRows(visibleRows());
  const found = columns();
  const [setting, metric] = [at("setting"), at("metric")];
  const best = bestOf(found, setting, metric);
  const described = data.metrics[metric];
  const caption = described
    ? `${described.name}${described.unit ? ` in ${described.unit}` : ""}; ${weightsName(data.settings[setting])}; ${described.more ? "more" : "less"} is better, the best of each column in bold. `
    : "Cells and how far they are. ";
  const head = found.map((column) => make("th", { scope: "col", class: column.step === undefined ? null : "number", "aria-sort": direction(column.id) },
    make("button", { type: "button", "data-column": column.id, onclick: () => sortBy(column.id) }, column.text)));
  const body = rows.map((row) => make("tr", {}, ...found.map((column) => cellOf(row, column, setting, metric, best))));
  const shown = table(caption, head, [], { id: "results-rows" });
  shown.tBodies[0].append(...body);
  byId("results-table").replaceChildren(shown);
  byId("results-count").textContent = rows.length === data.rows.length ? `${rows.length} rows` : `${rows.length} of ${data.rows.length} rows`;
}

function bestOf(found, setting, metric) {
  const choose = data.metrics[metric]?.more ? Math.max : Math.min;
  return Object.fromEntries(found.filter((column) => column.step !== undefined).map((column) => {
    const means = data.rows.map((_, row) => summary(row, setting, metric, column.step)?.mean).filter((mean) => typeof mean === "number");
    return [column.id, means.length > 1 ? number(choose(...means)) : null];
  }));
}

function cellOf(row, column, setting, metric, best) {
  const [kind, index] = column.id.split(".");
  if (kind === "label") return make("th", { scope: "row" }, data.rows[row].labels[index]);
  if (kind === "note") return make("td", { class: "note" }, data.rows[row].note);
  const value = summary(row, setting, metric, column.step);
  const text = summaryText(value, chosen.show);
  const interval = value && value.low !== null ? `95 % t interval ${number(value.low)} to ${number(value.high)}, ${value.n} seeds` : null;
  const lost = value && value.notFinite ? `${value.notFinite} of ${value.expected} not finite` : null;
  const isBest = value && value.n > 0 && number(value.mean) === best[column.id];
  return make("td", { class: "number", title: [interval, lost].filter(Boolean).join("; ") || null }, isBest ? make("strong", {}, text) : text);
}

const direction = (id) => (chosen.sort === id ? "ascending" : chosen.sort === `-${id}` ? "descending" : null);

function sortBy(id) {
  const next = chosen.sort === id ? `-${id}` : chosen.sort === `-${id}` ? "" : id;
  choose({ sort: next });
  byId("results-table").querySelector(`button[data-column="${id}"]`)?.focus();
  const told = { "": "in the order of the plan", [id]: "ascending", [`-${id}`]: "descending" }[next];
  byId("results-count").textContent += `, ${next ? `sorted by ${columns().find((column) => column.id === id).text}, ` : ""}${told}`;
}

function startTable() {
  const controls = byId("results-controls");
  if (data.rows.some((row) => row.cells.length > 1) && data.metrics.length) controls.append(select("Shown", SHOWS, chosen.show, (show) => choose({ show })));
  resultsTable();
  onChoice(["metric", "setting", "show", "sort", "words"], resultsTable);
}
