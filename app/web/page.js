// One picture: send it, show it before and after, say how it was routed, and let another category be tried.

const part = (id) => document.getElementById(id);
const percent = (share) => `${Math.round(share * 100)}%`;

const SHOWN_BY_BROWSERS = ["image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp"];

const REASONS = {
  confident: () => "The router was confident.",
  below_threshold: (d) =>
    `${d.top[0].category} was likeliest with ${percent(d.confidence)}, and the router wants ${percent(d.threshold)}: the fallback painted.`,
  unmapped: () => "It fits none of the categories, so the fallback painted.",
  requested: () => "Painted as you asked.",
};

let picture = null; // the file that is shown
let grey = null; // what is shown before: the file, or a copy of it that browsers can show
let latest = 0; // number of the last request, so that a late answer to an earlier one is dropped
const shown = { before: null, after: null }; // object URLs, to be released when replaced

function say(text, isError = false) {
  part("status").textContent = text;
  part("status").classList.toggle("error", isError);
}

function show(which, blob) {
  if (shown[which]) URL.revokeObjectURL(shown[which]);
  shown[which] = URL.createObjectURL(blob);
  part(which).src = shown[which];
}

async function ask(options) {
  const form = new FormData();
  form.append("file", picture);
  const query = new URLSearchParams(options);
  const request = { method: "POST", body: form, headers: { accept: "application/json" } };
  const answer = await fetch(`/v1/colorize?${query}`, request).catch(() => {
    throw new Error("The server could not be reached.");
  });
  const body = await answer.json().catch(() => ({ detail: `The server answered ${answer.status}.` }));
  if (!answer.ok) throw new Error(body.detail);
  const bytes = Uint8Array.from(atob(body.image), (letter) => letter.charCodeAt(0));
  return { decision: body.decision, blob: new Blob([bytes], { type: body.media_type }) };
}

async function colour(category = "auto") {
  const request = ++latest;
  say("Painting…");
  part("result").classList.add("busy");
  try {
    const shows = SHOWN_BY_BROWSERS.includes(picture.type);
    const format = shows ? "auto" : "png";
    const { decision, blob } = await ask({ category, format });
    grey ??= shows ? picture : (await ask({ category, format, saturation: 0 })).blob;
    if (request !== latest) return;
    show("before", grey);
    show("after", blob);
    describe(decision, category);
    const suffix = blob.type.split("/")[1].replace("jpeg", "jpg");
    part("download").href = shown.after;
    part("download").download = `${picture.name.replace(/\.[^.]*$/, "")}-colour.${suffix}`;
    part("result").hidden = false;
    say("");
  } catch (error) {
    if (request === latest) say(error.message, true);
  } finally {
    if (request === latest) part("result").classList.remove("busy");
  }
}

function describe(decision, asked) {
  part("category").textContent = decision.category;
  part("confidence").textContent = decision.reason === "below_threshold" ? "" : percent(decision.confidence);
  part("reason").textContent = REASONS[decision.reason](decision);
  const buttons = decision.top.map(({ category, probability }) => {
    const button = document.createElement("button");
    button.textContent = `${category} ${percent(probability)}`;
    button.setAttribute("aria-pressed", String(category === decision.category));
    button.addEventListener("click", () => colour(category));
    return button;
  });
  part("candidates").replaceChildren(...buttons);
  part("categories").value = asked;
}

async function listCategories() {
  const categories = await (await fetch("/v1/categories")).json();
  const options = ["auto", ...categories.map(({ name }) => name)].map((name) => new Option(name, name));
  part("categories").replaceChildren(...options);
}

function take(files) {
  if (!files.length) return;
  picture = files[0];
  grey = null;
  part("result").hidden = true; // what is shown is of another picture
  colour();
}

part("file").addEventListener("change", (event) => take(event.target.files));
part("categories").addEventListener("change", (event) => colour(event.target.value));
for (const type of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    part("drop").classList.toggle("over", type === "dragover");
    if (type === "drop") take(event.dataTransfer.files);
  });
}
listCategories().catch(() => say("The list of categories could not be loaded.", true));
