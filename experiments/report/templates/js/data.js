// What the page is drawn from, as experiments/report/page_data.py describes it.
const data = JSON.parse(document.getElementById("data").textContent);
const SUMMARY = ["mean", "std", "low", "high", "n", "expected", "notFinite"];
const LABELS = ["objective", "backbone", "data", "variant"];

// The summary of a row at a setting, metric and number of steps (all by index); null where there is no number.
function summary(row, setting, metric, step) {
  const found = data.values[setting]?.[metric]?.[row]?.[step];
  return found ? Object.fromEntries(SUMMARY.map((name, at) => [name, found[at]])) : null;
}

// Labels that are not the same in every row: always objective and backbone.
const shownLabels = LABELS.map((_, at) => at).filter(
  (at) => at < 2 || new Set(data.rows.map((row) => row.labels[at])).size > 1,
);

const rowName = (row) => shownLabels.map((at) => data.rows[row].labels[at]).filter(Boolean).join(" · ");
// What is drawn as one line beside others, and the panel that it stands in.
const seriesOf = (row) => [data.rows[row].labels[0], data.rows[row].labels[3]].filter(Boolean).join(" ");
const panelOf = (row) => {
  const [, backbone, set] = data.rows[row].labels;
  return shownLabels.includes(2) ? `${backbone} on ${set}` : backbone;
};
const stepsName = (steps) => (steps === 1 ? "1 step" : `${steps} steps`);
const metricAxis = (metric) => metric.short + (metric.unit ? ` in ${metric.unit}` : "");
const weightsName = (setting) => `${setting} weights`;
// What is better: a metric's value as a cost, of which less is better, and in words.
const price = (metric, value) => (metric.goal === "more" ? -value : metric.goal === "one" ? Math.abs(value - 1) : value);
const wanted = (metric) => ({ more: "higher", less: "lower", one: "nearer to 1" })[metric.goal];
