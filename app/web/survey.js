// Shows one question at a time, in the order that the server draws for the random number of this browser.

const at = (id) => document.getElementById(id);
const LETTERS = "ABCDEFGH";
const TIMEOUT = 20_000; // milliseconds
const STORAGE_KEY = `chromaroute-survey-${document.querySelector("meta[name=survey]").content}`;

let me = voter();
let left = [];
let total = 0;
let choice = null;
let busy = false;

// Storage may be disabled, as in some private windows: then the survey works but cannot be continued later
function voter(anew = false) {
  try {
    const known = localStorage.getItem(STORAGE_KEY) ?? "";
    if (!anew && /^[0-9a-f]{32}$/.test(known)) return known;
  } catch {}
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const fresh = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  try {
    localStorage.setItem(STORAGE_KEY, fresh);
  } catch {}
  return fresh;
}

async function ask(path, options = {}) {
  const headers = { "X-Survey-Voter": me, "Content-Type": "application/json" };
  const response = await fetch(path, { ...options, headers, signal: AbortSignal.timeout(TIMEOUT) });
  if (response.ok || response.status === 409) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Error(problem.detail ?? `the server answers ${response.status}.`);
}

async function start() {
  at("again").hidden = at("other").hidden = true;
  at("status").textContent = "";
  try {
    const asked = await (await ask("/survey/questions")).json();
    left = asked.questions;
    total = asked.total;
    at("intro").hidden = left.length < total;
    await show();
  } catch (error) {
    failed(error);
  }
}

async function show() {
  at("progress").max = total;
  at("progress").value = total - left.length;
  at("ask").hidden = at("next").disabled = true;
  choice = null;
  if (left.length === 0) {
    at("status").textContent = "That was the last question. Thank you! Your answers are stored.";
    at("other").hidden = false;
    at("status").focus();
    return;
  }
  const [question, following] = left;
  const natural = question.kind === "natural";
  const pictures = question.pictures.map((name) => Object.assign(new Image(), { src: `/survey/pictures/${name}`, alt: "" }));
  at("status").textContent = "Loading the pictures.";
  await Promise.all(pictures.map((image) => image.decode())).catch(() => {
    throw new Error("a picture could not be loaded.");
  });
  at("question").textContent = natural ? "Which one looks most natural?" : "Is this a real color photograph, or was it colorized?";
  const choices = natural
    ? pictures.map((image, index) => option(question.pictures[index], LETTERS[index], `Picture ${LETTERS[index]}`, image))
    : [option("real", "Real photograph (R)"), option("colorized", "Colorized by a machine (M)")];
  at("choices").replaceChildren(...(natural ? [] : [Object.assign(pictures[0], { alt: "a photograph in color" })]), ...choices);
  at("choices").className = natural ? "natural" : "real";
  at("choices").style.setProperty("--pictures", pictures.length);
  at("keys").textContent = `By keyboard: ${natural ? [...LETTERS.slice(0, pictures.length)].join(", ") : "R, M"}, then Enter.`;
  at("status").textContent = `${total - left.length + 1} of ${total}`;
  at("ask").hidden = false;
  at("question").focus({ preventScroll: true });
  window.scrollTo(0, 0);
  for (const name of following?.pictures ?? []) new Image().src = `/survey/pictures/${name}`;
}

function option(value, text, label = text, image = null) {
  const button = Object.assign(document.createElement("button"), { type: "button" });
  button.dataset.choice = value;
  button.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-label", label);
  if (image) button.append(image);
  button.append(Object.assign(document.createElement("span"), { textContent: text }));
  button.addEventListener("click", () => choose(button));
  return button;
}

function choose(button) {
  choice = button.dataset.choice;
  for (const each of at("choices").querySelectorAll("button")) each.setAttribute("aria-pressed", String(each === button));
  at("next").disabled = false;
}

async function vote() {
  if (busy || choice === null) return;
  busy = at("next").disabled = true;
  at("ask").setAttribute("aria-busy", "true");
  try {
    await ask("/survey/votes", { method: "POST", body: JSON.stringify({ question: left[0].id, choice }) });
    left.shift();
    at("intro").hidden = true;
    await show();
  } catch (error) {
    failed(error);
  } finally {
    busy = false;
    at("ask").removeAttribute("aria-busy");
  }
}

function failed(error) {
  at("ask").hidden = true;
  const what = error.name === "TimeoutError" ? "the server does not answer." : error.message;
  at("status").textContent = `This failed: ${what} Your earlier answers are stored.`;
  at("again").hidden = false;
  at("again").focus();
}

// Letters are shortcuts only while the focus is in the question, so that typing elsewhere chooses nothing
at("ask").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || busy) return;
  if (event.key === "Enter" && event.target === at("question")) vote();
  const place = (left[0].kind === "natural" ? LETTERS : "RM").indexOf(event.key.toUpperCase());
  const button = event.key.length === 1 && at("choices").querySelectorAll("button")[place];
  if (button) choose(button);
});
at("next").addEventListener("click", vote);
at("again").addEventListener("click", start);
at("other").addEventListener("click", () => {
  me = voter(true);
  start();
});
start();
