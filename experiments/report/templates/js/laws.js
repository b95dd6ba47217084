// Validation loss against training compute, with the power law through it and how far it may be carried on.
function startLaws() {
  if (!data.statistics.laws.length) return;
  section("laws", ["setting"], (part) => {
    for (const law of data.statistics.laws.filter((one) => one.setting === data.settings[at("setting")])) {
      const [runs, curve] = [{ colour: "var(--c1)", mark: "circle", dash: "" }, { colour: "var(--c0)", mark: "circle", dash: "" }];
      const dots = { name: "rows", look: { ...runs, bare: true }, x: law.points.map(([, x]) => x), y: law.points.map(([, , y]) => y), texts: law.points.map(([row, , y, fit]) => `${rowName(row)}: ${number(y)}, the law ${number(fit)}`) };
      const line = { name: "law", look: curve, x: law.curve.map(([x]) => x), y: law.curve.map(([, y]) => y), low: law.curve.map(([, , low]) => low), high: law.curve.map(([, , , high]) => high) };
      const told = law.a === null ? law.note : `L = a·C^−b + c with b = ${withEnds(law.b, 2)}, c = ${withEnds(law.c)}; residuals ${number(100 * law.error, 2)} %. The band is the 95 % interval of one further run. ${law.note}`;
      showChart(part, { panels: [{ title: `${law.objective} · ${law.backbone} on ${law.data}`, lines: law.curve.length ? [line, dots] : [dots] }], xlog: true, ylog: true, xlabel: "training compute in FLOPs", ylabel: "validation loss" }, {
        title: "Validation loss against compute", caption: `${weightsName(law.setting)}. ${told}`,
      });
    }
    if (!part.childElementCount) nothing(part, "No law for these weights.");
  });
}
