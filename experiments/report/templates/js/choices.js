// What the reader has chosen. It stands in the address after the #, so that a view survives a reload and can be sent.
const defaults = {
  metric: String(data.headline), setting: "0", show: "std", words: "", sort: "", against: "steps", cost: "nfe", most: "12",
  across: "", down: "", heat: "", curve: "0", step: "",
};
const chosen = { ...defaults };
const listeners = [];

// An address may be of another version of the page: what fits no more is left out.
function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const whole = { metric: data.metrics.length, setting: data.settings.length, curve: data.curves.length, step: Infinity, heat: Infinity, most: Infinity };
  for (const [name, value] of given) {
    const factor = data.factors.find(({ key }) => name === `is.${key}`);
    const fits = name in whole ? /^\d+$/.test(value) && Number(value) < whole[name] : factor ? factor.values.includes(value) : name in defaults;
    if (fits) chosen[name] = value;
  }
}

// Falls back to the default where a choice is none of those that there are.
const among = (name, options) => (options.includes(chosen[name]) ? null : (chosen[name] = defaults[name]));

function writeAddress() {
  const differing = Object.entries(chosen).filter(([name, value]) => value !== (defaults[name] ?? ""));
  try {
    history.replaceState(null, "", `#${new URLSearchParams(differing)}`);
  } catch {
    // a browser that guards addresses of local files: the view is not kept
  }
}

// Set choices and tell everybody who depends on one of them.
function choose(changes) {
  Object.assign(chosen, changes);
  writeAddress();
  for (const [names, listener] of listeners) {
    if (Object.keys(changes).some((name) => names.includes(name) || (name.startsWith("is.") && names.includes("words")))) listener();
  }
}

const onChoice = (names, listener) => listeners.push([names, listener]);
const at = (name) => Number(chosen[name]);
