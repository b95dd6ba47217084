// Quality against cost: what no other row beats in both.
const COSTS = [["nfe", "network evaluations (NFE)"], ["steps", "solver steps"], ["training", "seconds of training"], ["flops", "FLOPs of training"]];

function costs() {
  const seconds = data.metrics.findIndex((metric) => metric.key === "seconds_per_image");
  return [...COSTS, ...(seconds < 0 ? [] : [["image", "seconds per image"]])].filter(
    ([key]) => (key !== "training" || data.rows.some((row) => row.seconds)) && (key !== "flops" || data.rows.some((row) => row.flops)),
  );
}

function costOf(key, row, setting, step) {
  if (key === "nfe") return data.nfe[setting][row][step];
  if (key === "steps") return data.steps[setting][step];
  if (key === "training") return data.rows[row].seconds;
  if (key === "flops") return data.rows[row].flops;
  return summary(row, setting, data.metrics.findIndex((metric) => metric.key === "seconds_per_image"), step)?.mean ?? null;
}

// The points that no other point is at least as good as in both and better in one, by rising cost.
function paretoFront(points, metric) {
  const better = (a, b) => price(metric, a) < price(metric, b);
  const found = [];
  for (const point of [...points].sort((a, b) => a.cost - b.cost || (better(a.mean, b.mean) ? -1 : 1))) {
    if (!found.length || better(point.mean, found.at(-1).mean)) found.push(point);
  }
  return found;
}

function startPareto() {
  if (!data.metrics.length) return;
  among("cost", costs().map(([key]) => key));
  byId("pareto-controls").append(select("Cost", costs(), chosen.cost, (cost) => choose({ cost })));
  section("pareto", ["metric", "setting", "cost", "words"], (part) => {
    const [setting, metric] = [at("setting"), at("metric")];
    const described = data.metrics[metric];
    const rows = visibleRows();
    const points = rows.flatMap((row) => data.steps[setting].map((steps, step) => ({
      row, steps, cost: costOf(chosen.cost, row, setting, step), mean: summary(row, setting, metric, step)?.mean ?? null,
    }))).filter(({ cost, mean }) => cost !== null && mean !== null);
    if (!points.length) return nothing(part, "No row that is shown has both numbers.");
    const best = paretoFront(points, described);
    const look = looks(rows.map(seriesOf));
    const lines = [...Map.groupBy(points, ({ row }) => seriesOf(row))].map(([name, own]) => ({
      name, look: look.get(name), x: own.map(({ cost }) => cost), y: own.map(({ mean }) => mean),
      faint: own.map((point) => !best.includes(point)),
      points: own.map(({ row, steps, cost }) => `${rowName(row)}, ${stepsName(steps)}: ${tickText(cost)}`),
      texts: own.map(({ row, steps, cost, mean }) => `${rowName(row)}, ${stepsName(steps)}: ${number(mean)} at ${tickText(cost)}`),
    }));
    const xlabel = costs().find(([key]) => key === chosen.cost)[1];
    showChart(part, { panels: [{ title: "", lines }], points: true, xlog: true, ylog: true, xlabel, ylabel: metricAxis(described), front: best.map(({ cost, mean }) => [cost, mean]) }, {
      title: `${described.short} against ${xlabel}`,
      caption: `Each mark is a row at a number of steps, ${weightsName(data.settings[setting])}. The line joins what nothing beats in both: ${wanted(described)} and further left is better.`,
    });
    part.append(scroller("What nothing beats in both", numberTable("What nothing beats in both, by rising cost", ["row", "steps", xlabel, metricAxis(described)],
      best.map(({ row, steps, cost, mean }) => [rowName(row), steps, tickText(cost), number(mean)]), 1)));
  });
}
