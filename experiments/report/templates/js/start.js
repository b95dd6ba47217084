// What stands above all sections, and the start of each.
function startChoices() {
  const form = byId("choices");
  form.addEventListener("submit", (event) => event.preventDefault());
  if (data.metrics.length) form.append(select("Metric", data.metrics.map((metric, index) => [String(index), metric.name.split(":")[0]]), chosen.metric, (metric) => choose({ metric })));
  if (data.settings.length > 1) form.append(select("Weights", data.settings.map((name, index) => [String(index), name]), chosen.setting, (setting) => choose({ setting })));
  for (const { key, values } of data.factors) {
    const found = [...new Set(values)];
    if (found.length <= 80) form.append(select(key, [["", "all"], ...found], chosen[`is.${key}`] ?? "", (value) => choose({ [`is.${key}`]: value })));
  }
  let typing = 0;
  const words = make("input", { type: "search", id: "words", value: chosen.words, placeholder: "words, states", oninput: () => {
    clearTimeout(typing);
    typing = setTimeout(() => choose({ words: words.value }), 120);
  } });
  form.append(make("label", {}, make("span", {}, "Filter"), words));
  if (data.rows.length > 6) form.append(select("Lines", [["6", "6"], ["12", "12"], ["24", "24"], ["100000", "all"]], chosen.most, (most) => choose({ most })));
  form.hidden = false;
}

// The part of the address after the # holds the choices: links within the page go without it.
function startLinks() {
  for (const link of document.querySelectorAll('a[href^="#"]')) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const heading = byId(link.hash.slice(1));
      heading.scrollIntoView();
      heading.focus({ preventScroll: true });
    });
  }
}

readAddress();
startTheme();
startLinks();
if (data.rows.length) {
  startChoices();
  startTable();
  for (const start of [startQuality, startPareto, startHeatmap, startCurves, startTimes, startStatistics, startLaws, startSamples, startCells]) start();
  for (const link of document.querySelectorAll("nav a")) link.hidden = byId(link.hash.slice(1)).closest("section").hidden;
  startReload();
}
