// A colour, a mark and a dash for each line; the colours themselves are the stylesheet's, which knows light from dark.
const COLOURS = 8;
const DASHES = ["", "6 3", "1.5 3", "8 3 2 3"];
const MARKS = ["circle", "square", "diamond", "triangle", "cross", "plus", "down", "ring"];
const allSeries = [...new Set(data.rows.map((_, row) => seriesOf(row)))];

// With few series a colour is a series' for good; with many it goes by the place among those that are drawn. The ninth has
// the first one's colour with the second one's mark: points, which have no dash, are told apart too.
function looks(series) {
  const drawn = [...new Set(series)];
  const known = allSeries.length <= COLOURS ? allSeries : drawn;
  return new Map(drawn.map((name) => {
    const index = known.indexOf(name);
    const round = Math.floor(index / COLOURS);
    return [name, { colour: `var(--c${index % COLOURS})`, mark: MARKS[(index + round) % MARKS.length], dash: DASHES[round % DASHES.length] }];
  }));
}

function mark(kind, x, y, size, attributes = {}, ...children) {
  const s = size;
  const polygon = (...points) => draw("path", { d: `M${points.map(([a, b]) => `${(x + a * s).toFixed(1)} ${(y + b * s).toFixed(1)}`).join("L")}Z`, ...attributes }, ...children);
  if (kind === "square") return polygon([-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]);
  if (kind === "diamond") return polygon([0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]);
  if (kind === "triangle") return polygon([0, -1.2], [1.1, 0.9], [-1.1, 0.9]);
  if (kind === "down") return polygon([0, 1.2], [1.1, -0.9], [-1.1, -0.9]);
  if (kind === "plus") return polygon([-0.4, -1.2], [0.4, -1.2], [0.4, -0.4], [1.2, -0.4], [1.2, 0.4], [0.4, 0.4], [0.4, 1.2], [-0.4, 1.2], [-0.4, 0.4], [-1.2, 0.4], [-1.2, -0.4], [-0.4, -0.4]);
  if (kind === "cross") return polygon([-1.1, -0.6], [-0.6, -1.1], [0, -0.5], [0.6, -1.1], [1.1, -0.6], [0.5, 0], [1.1, 0.6], [0.6, 1.1], [0, 0.5], [-0.6, 1.1], [-1.1, 0.6], [-0.5, 0]);
  const ring = kind === "ring" ? { style: `fill:var(--paper);stroke:${attributes.fill};stroke-width:1.6` } : {};
  return draw("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: s, ...attributes, ...ring }, ...children);
}
