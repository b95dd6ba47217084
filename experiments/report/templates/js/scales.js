// Scales: from values to pixels, with ticks. A logarithmic one is used where every value is positive.
function extent(values) {
  let [least, most] = [Infinity, -Infinity];
  for (const value of values) {
    if (value === null || !Number.isFinite(value)) continue;
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  return [least, most];
}

function scale(values, pixels, { log = false, ticks = null, count = 5, pad = 0.04 } = {}) {
  let [least, most] = extent(values);
  if (!Number.isFinite(least)) [least, most] = [0, 1];
  const logarithmic = log && least > 0;
  const into = logarithmic ? Math.log : (value) => value;
  if (least === most) [least, most] = logarithmic ? [least / 1.5, most * 1.5] : [least - (Math.abs(least) / 2 || 1), most + (Math.abs(most) / 2 || 1)];
  const room = (into(most) - into(least)) * pad;
  const [from, to] = [into(least) - room, into(most) + room];
  const place = (value) => pixels[0] + ((into(value) - from) / (to - from)) * (pixels[1] - pixels[0]);
  const inside = (value) => into(value) >= from - 1e-9 && into(value) <= to + 1e-9;
  const found = (ticks ?? (logarithmic ? logTicks(least, most, count) : niceTicks(from, to, count))).filter(inside);
  return { place, ticks: found, logarithmic };
}

function niceTicks(from, to, count) {
  const rough = (to - from) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let k = Math.ceil(from / step); k * step <= to + step * 1e-9; k += 1) found.push(Number((k * step).toPrecision(12)));
  return found;
}

function logTicks(least, most, count) {
  if (most / least < 10) return niceTicks(least, most, count);
  for (const digits of [[1, 2, 5], [1, 3], [1]]) {
    const found = [];
    for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power += 1) {
      for (const digit of digits) found.push(Number(`${digit}e${power}`));
    }
    const within = found.filter((tick) => tick >= least * 0.9 && tick <= most * 1.1);
    if (within.length <= count + 2 || digits.length === 1) return within;
  }
  return [];
}
