// What follows from the numbers: ranks, correlations, what few steps cost, path lengths, and how far intervals can be trusted.
const metricName = (key) => data.metrics.find((metric) => metric.key === key)?.short ?? key;
const withEnds = (found, digits = 3, told = number) => (!found || found[0] === null ? "–" : found[1] === null ? told(found[0], digits) : `${told(found[0], digits)} [${told(found[1], digits)}, ${told(found[2], digits)}]`);
const correlation = (found) => withEnds(found, 2, (value, digits) => value.toFixed(digits).replace("-", "−"));
const percent = (found) => withEnds(found && found.map((value) => value === null ? null : 100 * value), 2);

// The first `texts` columns are words, the others numbers.
function statisticsPart(part, title, text, head, body, texts) {
  if (!body.length) return;
  part.append(make("h3", {}, title), scroller(title, numberTable(text, head, body, texts)));
}

function startStatistics() {
  const found = data.statistics;
  const some = found.ranking.lines.length || found.correlations.length || found.efficiency.length || found.lengths.length || found.notes.length;
  if (!some) return;
  section("statistics", ["setting", "words"], (part) => {
    const shown = new Set(visibleRows());
    const here = (one) => one.setting === data.settings[at("setting")];
    for (const note of found.notes) part.append(make("p", { class: "quiet" }, note));
    ranks(part, found.ranking);
    fewSteps(part, found.efficiency.filter((one) => here(one) && shown.has(one.row)));
    statisticsPart(part, "Path length", "Of the way from noise to sample, over seeds [95 % interval]; a straight way is shortest.", ["row", "parameters", "length"],
      found.lengths.filter((one) => here(one) && shown.has(one.row)).map((one) => [rowName(one.row), parameters(one.parameters), withEnds(one.length)]), 1);
    statisticsPart(part, "Validation loss and the metrics", "Correlation over the rows, each the mean of its seeds, with its 95 % interval. Over all objectives the losses are in different units; within one they are not.", ["metric", "objective", "steps", "rows", "Pearson", "Spearman"],
      found.correlations.filter(here).map((one) => [metricName(one.metric), one.objective ?? "all", one.steps ?? "–", one.n, correlation(one.pearson), `${correlation(one.spearman)} ${one.note}`]), 2);
    coverage(part, found.coverage);
    if (!part.childElementCount) nothing(part, "Nothing can be said with these numbers.");
  });
}

const parameters = (count) => (count === null ? "–" : count >= 1e6 ? `${number(count / 1e6)} M` : `${number(count / 1e3)} k`);

function ranks(part, ranking) {
  const seeds = ranking.lines.some((line) => line.ends[0] !== null);
  const text = `Non-dominated sorting by ${ranking.metrics.map(metricName).join(" and ")} under each of ${ranking.controls} controls (weights × steps × data), the fronts averaged: 1 is best. ${ranking.note}`;
  statisticsPart(part, "Global rank", text, ["objective", "backbone", "variant", "rank", ...(seeds ? ["over seeds"] : []), ...ranking.steps.map(stepsName), "controls"],
    ranking.lines.map((line) => [...line.labels, number(line.rank), ...(seeds ? [line.ends[0] === null ? "–" : `${number(line.ends[0])} to ${number(line.ends[1])}`] : []), ...line.by_steps.map((rank) => number(rank)), line.n]), 3);
}

function fewSteps(part, found) {
  const counts = [...new Set(found.flatMap((one) => one.relative.map(([n]) => n)))].sort((a, b) => a - b);
  const cost = (one, n) => percent(one.relative.find(([own]) => own === n)?.slice(1));
  statisticsPart(part, "What few steps cost", "How much worse the metric is than at the steps that it is compared with, in per cent: mean over seeds [95 % interval].",
    ["row", "metric", "parameters", "compared with", ...counts.map((n) => `${stepsName(n)}, %`)],
    found.map((one) => [`${rowName(one.row)}${one.note ? `: ${one.note}` : ""}`, metricName(one.metric), parameters(one.parameters), stepsName(one.reference), ...counts.map((n) => cost(one, n))]), 2);
}

function coverage(part, measured) {
  statisticsPart(part, "How far intervals can be trusted", "Share of 2,000 simulated studies whose 95 % interval of a mean over so many seeds held it. The page shows Student's.", ["values", "seeds", "Student", "percentile bootstrap", "BCa bootstrap"],
    measured.map((one) => [one.shape, one.n, ...[one.student, one.percentile, one.bca].map((share) => (share === null ? "–" : `${(100 * share).toFixed(1)} %`))]), 1);
}
