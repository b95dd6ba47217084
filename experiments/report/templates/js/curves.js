// Lines over many points: logged losses against training steps, and the validation loss against path time.
const band = (line) => line && { x: line[0], y: line[1], low: line[2], high: line[3] };

function startCurves() {
  const drawn = data.curves.map((curve, index) => [String(index), curve.title]);
  if (!drawn.length) return;
  byId("curves-controls").append(select("Curve", drawn, chosen.curve, (curve) => choose({ curve })));
  section("curves", ["curve", "words", "sort", "most"], (part) => {
    const found = data.curves[at("curve")];
    const rows = drawnRows();
    const panels = panelsOf(rows, (row) => band(found.lines[row]));
    if (!panels.length) return nothing(part, "No row that is shown has logged this.");
    const lost = found.not_finite ? ` ${found.not_finite} values were not finite and are left out.` : "";
    return showChart(part, { panels, ylog: true, xlabel: "training steps", ylabel: "loss" }, {
      title: found.title,
      caption: `Mean over seeds, bands from the least to the greatest${found.averaged ? "; neighbouring steps averaged" : ""}. Each objective has its own loss: compare shapes, not heights.${lost}${howMany(rows.length, visibleRows().length)}`,
    });
  });
}

function startTimes() {
  const kinds = data.times.map((kind) => kind.weights);
  if (!kinds.length) return;
  section("times", ["words", "sort", "most"], (part) => {
    const rows = drawnRows();
    for (const { weights, lines } of data.times) {
      const panels = panelsOf(rows, (row) => band(lines[row]));
      if (!panels.length) continue;
      showChart(part, { panels, ylog: true, xticks: [0, 0.25, 0.5, 0.75, 1], xlabel: "path time t (0: data, 1: noise)", ylabel: "loss" }, {
        title: `Validation loss against path time, ${weights} weights`,
        caption: `The head's own regression error on the held-out split; mean over seeds, bands from the least to the greatest.${howMany(rows.length, visibleRows().length)}`,
      });
    }
    if (!part.childElementCount) nothing(part, "No row that is shown has a validation loss.");
  });
}
