// The table of results: what is chosen above it decides its numbers, its headers sort it.
const SHOWS = [["std", "mean ± standard deviation"], ["interval", "95 % interval of the mean"], ["difference", "difference to the baseline"]];
const DIFFERENCE = ["mean", "low", "high", "n", "adjusted", "significant", "better", "tightening"];

// The paired difference of a row to its baseline; null where there is none.
function difference(row, setting, metric, step) {
  const found = data.statistics.differences[setting]?.[metric]?.[row]?.[step];
  return found ? Object.fromEntries(DIFFERENCE.map((name, index) => [name, found[index]])) : null;
}

const isBaseline = (row) => data.statistics.baseline.of[row] === row;

function columns() {
  const found = shownLabels.map((index) => ({ id: `label.${index}`, text: LABELS[index] }));
  const counts = data.steps[at("setting")] ?? [];
  const one = data.metrics[at("metric")]?.of_model;
  (one ? counts.slice(0, 1) : counts).forEach((steps, index) => found.push({ id: `step.${index}`, text: one ? "of the model" : stepsName(steps), step: index }));
  return [...found, { id: "note", text: "missing" }];
}

function resultsTable() {
  const rows = sortedRows(visibleRows());
  const found = columns();
  const [setting, metric] = [at("setting"), at("metric")];
  const best = bestOf(found, setting, metric);
  const head = found.map((column) => make("th", { scope: "col", class: column.step === undefined ? null : "number", "aria-sort": direction(column.id) },
    make("button", { type: "button", "data-column": column.id, onclick: () => sortBy(column.id) }, column.text)));
  const body = rows.map((row) => make("tr", {}, ...found.map((column) => cellOf(row, column, setting, metric, best))));
  const shown = table(captionOf(data.metrics[metric], setting), head, [], { id: "results-rows" });
  shown.tBodies[0].append(...body);
  byId("results-table").replaceChildren(shown);
  byId("results-count").textContent = rows.length === data.rows.length ? `${rows.length} rows` : `${rows.length} of ${data.rows.length} rows`;
}

function captionOf(metric, setting) {
  if (!metric) return "Cells and how far they are.";
  const what = `${metric.name}${metric.unit ? ` in ${metric.unit}` : ""}; ${weightsName(data.settings[setting])}; ${wanted(metric)} is better`;
  if (chosen.show !== "difference") return `${what}, the best of each column in bold.`;
  const tighter = data.statistics.tightening === null ? "" : ` Paired by seed, the intervals are ${number(data.statistics.tightening, 2)} times as wide as they would be unpaired (median).`;
  return `${what}. Row less baseline, mean over the seeds of both with its 95 % interval; * is significant at 5 % after Holm's correction over the table. Baseline: ${data.statistics.baseline.reason}.${tighter}`;
}

function bestOf(found, setting, metric) {
  return Object.fromEntries(found.filter((column) => column.step !== undefined).map((column) => {
    const means = data.rows.map((_, row) => summary(row, setting, metric, column.step)?.mean).filter((mean) => typeof mean === "number");
    means.sort((a, b) => price(data.metrics[metric], a) - price(data.metrics[metric], b));
    return [column.id, means.length > 1 ? number(means[0]) : null];
  }));
}

// What a row whose cells are done lacks of the metric that is shown.
function lacking(row, setting, metric) {
  const found = (data.metrics.length ? data.steps[setting] : []).map((_, step) => summary(row, setting, metric, step));
  return found.every(Boolean) ? "" : found.some(Boolean) ? "some steps not evaluated" : "not evaluated";
}

function cellOf(row, column, setting, metric, best) {
  const [kind, index] = column.id.split(".");
  if (kind === "label") return make("th", { scope: "row" }, data.rows[row].labels[index]);
  if (kind === "note") return make("td", { class: "note" }, data.rows[row].note || lacking(row, setting, metric));
  const value = summary(row, setting, metric, column.step);
  if (chosen.show === "difference") return differenceCell(row, setting, metric, column.step, value);
  const text = summaryText(value, chosen.show);
  const interval = value && value.low !== null ? `95 % t interval ${number(value.low)} to ${number(value.high)}, ${value.n} seeds` : null;
  const lost = value && value.notFinite ? `${value.notFinite} of ${value.expected} not finite` : null;
  const isBest = value && value.n > 0 && number(value.mean) === best[column.id];
  return make("td", { class: "number", title: [interval, lost].filter(Boolean).join("; ") || null }, isBest ? make("strong", {}, text) : text);
}

function differenceCell(row, setting, metric, step, value) {
  if (isBaseline(row)) return make("td", { class: "number quiet" }, value ? `baseline ${number(value.mean)}` : "–");
  const found = difference(row, setting, metric, step);
  if (!found) return make("td", { class: "number" }, "–");
  const ends = found.low === null ? "" : ` [${number(found.low, 2)}, ${number(found.high, 2)}]`;
  const told = found.adjusted === null ? `${found.n} seeds in common` : `${found.n} seeds in common, p = ${number(found.adjusted, 2)} after Holm's correction`;
  const side = found.significant && found.better !== null ? (found.better ? "good" : "bad") : null;
  const word = side === "good" ? "better" : side === "bad" ? "worse" : "";
  return make("td", { class: ["number", side].filter(Boolean).join(" "), title: told }, `${signed(found.mean)}${ends}${found.significant ? " *" : ""}`, word ? make("span", { class: "unseen" }, ` ${word}`) : null);
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
  const several = data.rows.some((row) => row.cells.length > 1);
  const compared = data.statistics.differences.some((metrics) => metrics.some((rows) => rows.some((row) => row.some(Boolean))));
  const shows = SHOWS.filter(([key]) => key === "std" || (key === "interval" ? several : compared));
  among("show", shows.map(([key]) => key));
  if (shows.length > 1 && data.metrics.length) byId("results-controls").append(select("Shown", shows, chosen.show, (show) => choose({ show })));
  resultsTable();
  onChoice(["metric", "setting", "show", "sort", "words"], resultsTable);
}
