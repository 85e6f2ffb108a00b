// The options of the output: format, quality, threshold, metadata and routing, remembered in this browser.

const element = (id) => document.getElementById(id);

const FIELDS = ["format", "quality", "threshold", "metadata", "routing"];
const DEFAULTS = { format: "auto", quality: "90", threshold: "", metadata: "keep", routing: "hard" };

export function initOptions(changed) {
  for (const name of FIELDS) {
    element(name).value = localStorage.getItem(name) ?? DEFAULTS[name];
    element(name).addEventListener("change", () => {
      if (!element(name).reportValidity()) return;
      localStorage.setItem(name, element(name).value);
      describe();
      changed(name);
    });
  }
  element("quality").addEventListener("input", describe);
  describe();
}

// The options that differ from the defaults of the server.
export function chosenOptions(...names) {
  const chosen = FIELDS.filter((name) => !names.length || names.includes(name)).map((name) => [name, element(name).value]);
  return Object.fromEntries(chosen.filter(([name, value]) => value !== DEFAULTS[name] && element(name).checkValidity()));
}

function describe() {
  const changed = FIELDS.filter((name) => element(name).value !== DEFAULTS[name]).map((name) => `${name} ${element(name).value}`);
  element("options-summary").textContent = changed.length ? `Options: ${changed.join(", ")}` : "Options";
  element("quality-value").value = element("quality").value;
}
