// A figure of panels that share their axes: lines with marks and bands, or points. Drawn for the width that there is.
const PANEL = { least: 290, height: 250, left: 46, top: 26, bottom: 40, right: 14 };
const LETTER = 6.3;

// spec: { panels: [{ title, lines: [{ name, look, x, y, low, high, texts }] }], xlabel, ylabel, xlog, ylog, xticks, points, front, says }
function chart(holder, spec) {
  const width = Math.max(300, holder.clientWidth);
  const most = spec.panels.length === 1 ? 1 : Math.min(spec.panels.length, 3);
  const columns = Math.max(1, Math.min(most, Math.floor(width / PANEL.least)));
  const panelWidth = Math.min(spec.panels.length === 1 ? 820 : 560, width / columns);
  const room = labelRoom(spec, panelWidth);
  const deep = Math.ceil(spec.panels.length / columns);
  const head = 20;
  const height = head + deep * PANEL.height;
  const all = (name) => spec.panels.flatMap((panel) => panel.lines.flatMap((line) => line[name] ?? []));
  const x = scale(all("x"), [PANEL.left, panelWidth - PANEL.right - room], { log: spec.xlog, ticks: spec.xticks, count: panelWidth / 90 });
  const floor = bandFloor(all("y"), spec.ylog);
  const lows = all("low").map((value) => (value === null ? null : Math.max(value, floor)));
  const y = { ...scale([...all("y"), ...lows, ...all("high")], [PANEL.height - PANEL.bottom, PANEL.top], { log: spec.ylog, count: 5 }), floor };
  const svg = draw("svg", { viewBox: `0 0 ${columns * panelWidth} ${height}`, width: columns * panelWidth, height, role: "img", "aria-label": spec.says },
    draw("title", {}, spec.says),
    draw("text", { class: "axis-name", x: 0, y: 12 }, `${spec.ylabel}${y.logarithmic ? " (log scale)" : ""}`));
  spec.panels.forEach((panel, index) => {
    const [left, top] = [(index % columns) * panelWidth, head + Math.floor(index / columns) * PANEL.height];
    svg.append(draw("g", { transform: `translate(${left} ${top})` }, ...frame(panel, spec, x, y, panelWidth - room),
      ...(spec.front ? [front(spec.front, x, y)] : []),
      ...panel.lines.flatMap((line) => curve(line, x, y, spec)), ...(room ? endLabels(panel, x, y) : [])));
  });
  return { svg, labelled: room > 0 };
}

// Bands of a logarithmic axis end a little below the least line: an interval may reach to 0 and beyond.
function bandFloor(values, log) {
  const [least] = extent(values);
  return log && Number.isFinite(least) && least > 0 ? least / 2 : -Infinity;
}

// Room for names at the ends of the lines: where there are few, and enough is left for the lines.
function labelRoom(spec, panelWidth) {
  if (spec.points || spec.panels.some((panel) => panel.lines.length > 6)) return 0;
  const longest = Math.max(0, ...spec.panels.flatMap((panel) => panel.lines.map((line) => line.name.length)));
  const room = longest * LETTER + 12;
  return panelWidth - room - PANEL.left - PANEL.right >= 200 ? room : 0;
}

function frame(panel, spec, x, y, width) {
  const [left, right, low] = [PANEL.left, width - PANEL.right, PANEL.height - PANEL.bottom];
  const parts = [draw("text", { class: "panel-title", x: left, y: 14 }, panel.title)];
  for (const tick of y.ticks) {
    const at = y.place(tick).toFixed(1);
    parts.push(draw("line", { class: "rule", x1: left, x2: right, y1: at, y2: at }),
      draw("text", { class: "tick", x: left - 6, y: Number(at) + 3.5, "text-anchor": "end" }, tickText(tick)));
  }
  let free = -Infinity;
  for (const tick of x.ticks) {
    const [at, half] = [x.place(tick), (tickText(tick).length * LETTER) / 2];
    parts.push(draw("line", { class: "axis", x1: at, x2: at, y1: low, y2: low + 4 }));
    if (at - half < free) continue;
    free = at + half + 4;
    parts.push(draw("text", { class: "tick", x: at.toFixed(1), y: low + 16, "text-anchor": "middle" }, tickText(tick)));
  }
  parts.push(draw("line", { class: "axis", x1: left, x2: right, y1: low, y2: low }),
    draw("text", { class: "axis-name", x: (left + right) / 2, y: low + 32, "text-anchor": "middle" }, spec.xlabel));
  return parts;
}

function curve(line, x, y, spec) {
  const points = line.x.map((value, at) => [x.place(value), line.y[at] === null ? null : y.place(line.y[at])]);
  const { colour, dash, mark: kind, bare } = line.look;
  const parts = [];
  if (line.low && line.low.some((value, at) => value !== null && value !== line.high[at])) {
    const end = (values) => values.map((value, at) => [x.place(line.x[at]), y.place(Math.max(value ?? line.y[at], y.floor))]);
    const round = [...end(line.high), ...end(line.low).reverse()].filter(([, v]) => Number.isFinite(v));
    parts.push(draw("path", { class: "band", d: `${path(round)}Z`, fill: colour }));
  }
  if (!spec.points && !bare) parts.push(draw("path", { class: "line", d: path(points), stroke: colour, "stroke-dasharray": dash || null }, draw("title", {}, line.name)));
  if (spec.points || bare || points.length <= 14) {
    points.forEach(([a, b], at) => {
      if (b !== null) parts.push(mark(kind, a, b, line.faint?.[at] ? 3 : 4, { fill: colour, class: line.faint?.[at] ? "faint" : "point" }, draw("title", {}, line.texts?.[at] ?? `${line.name}: ${number(line.y[at])} at ${tickText(line.x[at])}`)));
    });
  }
  return parts;
}

function path(points) {
  let pen = "M";
  let text = "";
  for (const [a, b] of points) {
    if (b === null || !Number.isFinite(b)) {
      pen = "M";
      continue;
    }
    text += `${pen}${a.toFixed(1)} ${b.toFixed(1)}`;
    pen = "L";
  }
  return text;
}

// The names at the right ends of the lines, pushed apart where they would overlap.
function endLabels(panel, x, y) {
  const ends = panel.lines.map((line) => {
    const last = line.y.findLastIndex((value) => value !== null);
    return last < 0 ? null : { line, a: x.place(line.x[last]), b: y.place(line.y[last]) };
  }).filter(Boolean).sort((p, q) => p.b - q.b);
  const bottom = PANEL.height - PANEL.bottom;
  ends.forEach((end, at) => (end.at = Math.max(end.b, at ? ends[at - 1].at + 13 : PANEL.top)));
  for (let at = ends.length - 1; at >= 0; at -= 1) ends[at].at = Math.min(ends[at].at, at === ends.length - 1 ? bottom : ends[at + 1].at - 13);
  const right = Math.max(...ends.map((end) => end.a));
  return ends.map(({ line, b, at }) => draw("g", {},
    Math.abs(at - b) > 5 ? draw("line", { class: "leader", x1: right + 4, x2: right + 10, y1: b, y2: at, stroke: line.look.colour }) : null,
    draw("text", { class: "end-label", x: right + 12, y: at + 4, fill: line.look.colour }, line.name)));
}

// The steps between the points that nothing beats in both.
function front(points, x, y) {
  let d = "";
  points.forEach(([a, b], at) => {
    d += at ? `H${x.place(a).toFixed(1)}V${y.place(b).toFixed(1)}` : `M${x.place(a).toFixed(1)} ${y.place(b).toFixed(1)}`;
  });
  return draw("path", { class: "front", d });
}
