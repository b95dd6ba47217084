// The chosen metric over two axes of the grid, one of which may be the number of steps.
const RAMP = [[0, 32, 77], [66, 77, 108], [124, 123, 120], [188, 174, 108], [255, 234, 70]]; // cividis, fit for every eye

// The colour at a share of the ramp, and whether black or white is read on it.
function heat(share) {
  const place = share * (RAMP.length - 1);
  const low = Math.min(Math.floor(place), RAMP.length - 2);
  const rgb = RAMP[low].map((value, at) => Math.round(value + (RAMP[low + 1][at] - value) * (place - low)));
  const [r, g, b] = rgb.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
  return { fill: `rgb(${rgb.join(" ")})`, ink: 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff" };
}

const axes = () => [...data.factors.map((factor) => factor.key), "steps"];

function startHeatmap() {
  if (!data.metrics.length || axes().length < 2) return;
  const options = axes();
  defaults.down = options.length > 2 ? options[0] : "steps";
  defaults.across = options.length > 2 ? data.factors.slice(1).findLast((factor) => crossed(data.factors[0], factor))?.key ?? "steps" : options[0];
  for (const name of ["across", "down"]) among(name, options);
  const controls = byId("heatmap-controls");
  const steps = select("Steps", [], "", (heat) => choose({ heat }));
  controls.append(select("Columns", options, chosen.across, (across) => choose({ across })), select("Rows", options, chosen.down, (down) => choose({ down })), steps);
  section("heatmap", ["metric", "setting", "across", "down", "heat", "words"], (part) => {
    const counts = data.steps[at("setting")];
    steps.hidden = chosen.across === "steps" || chosen.down === "steps";
    const step = chosen.heat === "" || !(Number(chosen.heat) < counts.length) ? counts.length - 1 : Number(chosen.heat);
    steps.querySelector("select").replaceChildren(...counts.map((n, index) => make("option", { value: index, selected: index === step }, String(n))));
    if (chosen.across === chosen.down) return nothing(part, "Choose two different axes.");
    return drawHeat(part, gather(step), counts[step], steps.hidden);
  });
}

// Whether every value of one factor stands in a row with every value of the other.
function crossed(one, other) {
  const pairs = one.values.map((value, row) => JSON.stringify([value, other.values[row]]));
  return new Set(pairs).size === new Set(one.values).size * new Set(other.values).size;
}

// Means by (value down, value across), each the mean over the rows that share both.
function gather(step) {
  const [setting, metric] = [at("setting"), at("metric")];
  const value = (axis, row, index) => (axis === "steps" ? String(data.steps[setting][index]) : data.factors.find((factor) => factor.key === axis).values[row]);
  const both = chosen.across === "steps" || chosen.down === "steps";
  const steps = both ? data.steps[setting].map((_, index) => index) : [step];
  const found = new Map();
  const names = { across: new Set(), down: new Set() };
  for (const row of visibleRows()) {
    for (const index of steps) {
      const [a, d] = [value(chosen.across, row, index), value(chosen.down, row, index)];
      names.across.add(a);
      names.down.add(d);
      const mean = summary(row, setting, metric, index)?.mean;
      if (typeof mean !== "number") continue;
      const key = JSON.stringify([d, a]);
      found.set(key, [...(found.get(key) ?? []), mean]);
    }
  }
  return { across: ordered(names.across), down: ordered(names.down), values: found };
}

const ordered = (names) => {
  const list = [...names];
  return list.every((name) => Number.isFinite(Number(name))) ? list.sort((a, b) => a - b) : list;
};

function drawHeat(part, { across, down, values }, steps, free) {
  const metric = data.metrics[at("metric")];
  const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length;
  const means = new Map([...values].map(([key, list]) => [key, mean(list)]));
  const costs = [...means.values()].map((value) => price(metric, value));
  const [least, most] = extent(costs);
  if (!means.size) return nothing(part, "No row that is shown has a number of this metric.");
  const into = least > 0 && most / least > 10 ? Math.log : (value) => value;
  const share = (value) => (most === least ? 0.5 : 1 - (into(price(metric, value)) - into(least)) / (into(most) - into(least)));
  const text = (name) => (name.length > 30 ? `${name.slice(0, 29)}…` : name);
  const left = Math.max(...down.map((name) => text(name).length)) * LETTER + 14;
  const wide = Math.max(64, Math.min(150, Math.max(...across.map((name) => text(name).length)) * LETTER + 14));
  const tall = 30;
  const width = left + across.length * wide + 2;
  const height = 44 + down.length * tall;
  const title = `${metric.short} by ${chosen.down} and ${chosen.across}`;
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${title}. The numbers stand below the figure.` },
    draw("text", { class: "axis-name", x: left, y: 12 }, chosen.across), draw("text", { class: "axis-name", x: 0, y: 34 }, chosen.down));
  across.forEach((name, column) => svg.append(draw("text", { class: "tick", x: left + (column + 0.5) * wide, y: 34, "text-anchor": "middle" }, text(name), draw("title", {}, name))));
  down.forEach((name, line) => {
    const y = 40 + line * tall;
    svg.append(draw("text", { class: "tick", x: 0, y: y + 19 }, text(name), draw("title", {}, name)));
    across.forEach((other, column) => {
      const key = JSON.stringify([name, other]);
      const found = means.get(key);
      const { fill, ink } = found === undefined ? { fill: "none", ink: "var(--quiet)" } : heat(share(found));
      svg.append(draw("g", {}, draw("title", {}, `${name}, ${other}: ${number(found)}${found === undefined ? "" : `, mean of ${values.get(key).length} rows`}`),
        draw("rect", { x: left + column * wide + 1, y: y + 1, width: wide - 2, height: tall - 2, fill, class: found === undefined ? "hole-rect" : null }),
        draw("text", { x: left + (column + 0.5) * wide, y: y + 19, "text-anchor": "middle", class: "heat-value", style: `fill:${ink}` }, number(found))));
    });
  });
  const caption = `${weightsName(data.settings[at("setting")])}${free ? "" : `, ${stepsName(steps)}`}; brighter is better${into === Math.log ? ", colours on a log scale" : ""}. Where several rows share a place, their mean.`;
  const details = make("details", { class: "numbers" }, make("summary", {}, "The numbers"));
  details.addEventListener("toggle", () => {
    if (details.childElementCount === 1) details.append(scroller(`Numbers of ${title}`, table(title, [`${chosen.down} \\ ${chosen.across}`, ...across],
      down.map((name) => [make("th", { scope: "row" }, name), ...across.map((other) => number(means.get(JSON.stringify([name, other]))))]))));
  });
  return part.append(make("figure", {}, make("figcaption", {}, make("strong", {}, `${title}. `), caption), scroller(title, svg), details));
}
