// Which rows are shown, and in which order.
const stateWords = data.rows.map((row) => [...new Set(row.cells.map((cell) => data.cells[cell].state))].join(" "));
const haystacks = data.rows.map((row, index) => [...row.labels, row.note, stateWords[index]].join(" ").toLowerCase());

// Rows that hold every word of the filter and have the chosen value of each factor.
function visibleRows() {
  const words = chosen.words.toLowerCase().split(/\s+/).filter(Boolean);
  const factors = data.factors.map((factor) => [factor.values, chosen[`is.${factor.key}`] ?? ""]).filter(([, value]) => value !== "");
  return data.rows.map((_, index) => index).filter(
    (row) => words.every((word) => haystacks[row].includes(word)) && factors.every(([values, value]) => values[row] === value),
  );
}

// What a column sorts by: a text, or a number where null comes last.
function sortKey(row, column) {
  const [kind, index] = column.split(".");
  if (kind === "label") return data.rows[row].labels[index] ?? "";
  if (kind === "note") return data.rows[row].note;
  const shown = chosen.show === "difference" ? difference : summary;
  return shown(row, at("setting"), at("metric"), Number(index))?.mean ?? null;
}

function sortedRows(rows) {
  if (!chosen.sort) return rows;
  const down = chosen.sort.startsWith("-");
  const column = chosen.sort.replace("-", "");
  const keys = new Map(rows.map((row) => [row, sortKey(row, column)]));
  const compare = (a, b) => {
    const [x, y] = [keys.get(a), keys.get(b)];
    if (x === null || y === null) return (x === null) - (y === null) || a - b;
    const order = typeof x === "number" ? x - y : x.localeCompare(y, "en", { numeric: true });
    return (down ? -order : order) || a - b;
  };
  return [...rows].sort(compare);
}

// The rows that figures draw: the first so many of the table, as it is filtered and sorted.
const drawnRows = () => sortedRows(visibleRows()).slice(0, Number(chosen.most));
