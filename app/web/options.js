// The options of the output: format, quality, threshold, metadata and routing, remembered in this browser.

const element = (id) => document.getElementById(id);

const FIELDS = ["format", "quality", "threshold", "metadata", "routing"];
const DEFAULTS = { format: "auto", quality: "90", threshold: "", metadata: "keep", routing: "hard" };
const STORAGE_KEY = (name) => `chromaroute-${name}`;

export function initOptions(changed) {
  for (const name of FIELDS) {
    element(name).value = remembered(name) ?? DEFAULTS[name];
    if (!element(name).value || !element(name).checkValidity()) element(name).value = DEFAULTS[name]; // of another version
    element(name).addEventListener("change", () => {
      describe();
      if (!element(name).reportValidity()) return;
      remember(name, element(name).value);
      changed(name);
    });
  }
  element("quality").addEventListener("input", describe);
  describe();
}

// The options that differ from the defaults of the server, and are valid.
export function chosenOptions(...names) {
  const chosen = FIELDS.filter((name) => !names.length || names.includes(name)).map((name) => [name, element(name).value]);
  return Object.fromEntries(chosen.filter(([name, value]) => value !== DEFAULTS[name] && element(name).checkValidity()));
}

function describe() {
  const chosen = Object.entries(chosenOptions()).map(([name, value]) => `${name} ${element(name).selectedOptions?.[0].text ?? value}`);
  element("options-summary").textContent = chosen.length ? `Options: ${chosen.join(", ")}` : "Options";
  element("quality-value").value = element("quality").value;
}

// Storage may be disabled, as in some private windows: then the options last as long as the page.
function remembered(name) {
  try {
    return localStorage.getItem(STORAGE_KEY(name));
  } catch {
    return null;
  }
}

function remember(name, value) {
  try {
    localStorage.setItem(STORAGE_KEY(name), value);
  } catch {}
}
