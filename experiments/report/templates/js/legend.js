// The names of the lines with their marks, where they do not stand at the lines themselves.
function legend(lines, { points = false } = {}) {
  const first = new Map(lines.map((line) => [line.name, line.look]));
  if (first.size < 2) return null;
  return make("ul", { class: "legend" }, ...[...first].map(([name, look]) => make("li", {},
    draw("svg", { width: 30, height: 12, "aria-hidden": "true" },
      points ? null : draw("line", { x1: 1, x2: 29, y1: 6, y2: 6, stroke: look.colour, "stroke-width": 2, "stroke-dasharray": look.dash || null }),
      mark(look.mark, 15, 6, 4, { fill: look.colour })),
    name)));
}
