// Numbers as one reads them.
function number(value, significant = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e6) return (value < 0 ? "−" : "") + size.toExponential(significant - 1);
  const digits = significant - 1 - Math.floor(Math.log10(size));
  return value.toFixed(Math.max(0, Math.min(digits, 6))).replace("-", "−");
}

// A tick of an axis: short, without trailing zeros.
function tickText(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e4 && size < 1e6) return `${Number((value / 1e3).toPrecision(3))}k`;
  if (size < 1e-3 || size >= 1e6) return value.toExponential(0).replace("e+", "e").replace("-", "−");
  return String(Number(value.toPrecision(4))).replace("-", "−");
}

const signed = (value, significant = 3) => (value > 0 ? "+" : "") + number(value, significant);

// "18.2", "18.2 ± 1.1" over seeds, "(2 of 3)" where seeds are missing, "not finite".
function summaryText(found, show) {
  if (!found) return "–";
  if (found.n === 0) return "not finite";
  const partial = found.n === found.expected ? "" : ` (${found.n} of ${found.expected})`;
  if (show === "interval" && found.low !== null) return `${number(found.low)} to ${number(found.high)}${partial}`;
  const spread = found.std === null ? "" : ` ± ${number(found.std, 2)}`;
  return number(found.mean) + spread + partial;
}
