// The sample sheets of all cells, from the same noise: a slider goes through the numbers of steps.
let pictureLines = null;
const picture = (line) => (pictureLines ??= byId("pictures").textContent.split("\n"))[line];

function startSamples() {
  if (!data.sheets.some((cells) => cells.some((steps) => steps.some((line) => line !== null)))) return;
  const slider = make("input", { type: "range", id: "steps", min: 0, step: 1, oninput: () => choose({ step: slider.value }) });
  const shown = make("output", { for: "steps" });
  byId("samples-controls").append(make("label", { class: "slider" }, make("span", {}, "Solver steps"), slider, shown));
  const note = data.shrunk ? ` ${data.shrunk} large sheets are shown smaller than they are.` : "";
  const labels = Object.entries(data.conditions).map(([set, text]) => make("details", {}, make("summary", {}, `The labels of the tiles, row by row: ${set}`), make("p", { class: "tiles" }, text)));
  byId("samples-part").before(make("p", {}, `Every sheet starts from the same noise and, where there are classes, the same labels: tiles in the same place are the same draw.${note}`), ...labels);

  let steps = [];
  const label = () => {
    steps = data.steps[at("setting")];
    slider.max = steps.length - 1;
    const index = chosen.step === "" ? steps.length - 1 : Math.min(Number(chosen.step), steps.length - 1);
    slider.value = index;
    slider.setAttribute("aria-valuetext", stepsName(steps[index]));
    shown.textContent = stepsName(steps[index]);
    return index;
  };
  let cards = [];
  const near = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      target.near = isIntersecting;
      if (isIntersecting) target.show();
    }
  }, { rootMargin: "400px" });
  const start = () => section("samples", ["setting", "words", "sort"], (part) => {
    near.disconnect();
    label();
    cards = sortedRows(visibleRows()).flatMap((row) => data.rows[row].cells.map((cell) => card(row, cell, label)));
    part.append(make("div", { class: "sheets" }, ...cards));
    cards.forEach((one) => near.observe(one));
  });
  byId("samples-section").hidden = false;
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", start); // the pictures come last in the file
  else start();
  onChoice(["step", "metric"], () => {
    label();
    cards.filter((one) => one.near).forEach((one) => one.show());
  });
  label();
}

function card(row, cell, index) {
  const { seed, state, name } = data.cells[cell];
  const caption = make("figcaption", {}, make("strong", {}, rowName(row)), seed === undefined || seed === null ? "" : `, seed ${seed}`, make("br"), make("span", { class: "quiet" }));
  const holder = make("div", { class: "sheet" });
  const figure = make("figure", { class: "card" }, holder, caption);
  figure.show = () => {
    const [setting, step] = [at("setting"), index()];
    const line = data.sheets[setting][cell][step];
    const steps = stepsName(data.steps[setting][step]);
    const found = summary(row, setting, at("metric"), step);
    caption.lastChild.textContent = `${steps}, ${weightsName(data.settings[setting])}${found ? `; ${data.metrics[at("metric")].short} ${summaryText(found)}` : ""}`;
    if (line === null) return holder.replaceChildren(make("span", { class: "hole" }, state === "done" ? "no sheet" : state));
    const image = holder.querySelector("img") ?? make("img", { decoding: "async" });
    image.alt = `Samples of ${name}: ${steps}, ${weightsName(data.settings[setting])}`;
    if (image.line !== line) image.src = picture(line);
    image.line = line;
    return image.parentNode ? null : holder.replaceChildren(image);
  };
  return figure;
}
