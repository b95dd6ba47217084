// The chosen metric against the number of solver steps or of network evaluations.
function startQuality() {
  if (!data.metrics.length) return;
  among("against", ["steps", "nfe"]);
  byId("quality-controls").append(select("Against", [["steps", "solver steps"], ["nfe", "network evaluations (NFE)"]], chosen.against, (against) => choose({ against })));
  section("quality", ["metric", "setting", "against", "words", "sort", "most"], (part) => {
    const [setting, metric] = [at("setting"), at("metric")];
    const described = data.metrics[metric];
    const rows = drawnRows();
    const panels = panelsOf(rows, (row) => {
      const found = data.steps[setting].map((steps, step) => [chosen.against === "nfe" ? data.nfe[setting][row][step] : steps, summary(row, setting, metric, step)])
        .filter(([x, value]) => x !== null && value && value.n > 0);
      const several = found.some(([, value]) => value.low !== null);
      return {
        x: found.map(([x]) => x), y: found.map(([, value]) => value.mean),
        ...(several ? { low: found.map(([, value]) => value.low ?? value.mean), high: found.map(([, value]) => value.high ?? value.mean) } : {}),
      };
    });
    if (!panels.length) return nothing(part, "No row that is shown has a number of this metric.");
    const bands = panels.some((panel) => panel.lines.some((line) => line.low)) ? " Bands: 95 % t interval over seeds." : "";
    const ticks = [...new Set(panels.flatMap((panel) => panel.lines.flatMap((line) => line.x)))].sort((a, b) => a - b);
    return showChart(part, { panels, xlog: true, ylog: true, xticks: ticks.length <= 12 ? ticks : null, xlabel: chosen.against === "nfe" ? "network evaluations" : "solver steps", ylabel: metricAxis(described) }, {
      title: `${described.short} against ${chosen.against === "nfe" ? "network evaluations" : "solver steps"}`,
      caption: `${weightsName(data.settings[setting])}; ${wanted(described)} is better.${bands}${howMany(rows.length, visibleRows().length)}`,
    });
  });
}
