// Shows one question at a time, in the order that the server draws for the random number of this browser.

const element = (id) => document.getElementById(id);
const LETTERS = "ABCDEFGH";
const TIMEOUT = 20_000; // milliseconds
const STORAGE_KEY = `chromaroute-survey-${document.querySelector("meta[name=survey]").content}`;

let voterId = voter();
let remaining = [];
let total = 0;
let choice = null;
let busy = false;

// Storage may be disabled, as in some private windows: then the survey works but cannot be continued later
function voter(reset = false) {
  try {
    const known = localStorage.getItem(STORAGE_KEY) ?? "";
    if (!reset && /^[0-9a-f]{32}$/.test(known)) return known;
  } catch {}
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const fresh = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  try {
    localStorage.setItem(STORAGE_KEY, fresh);
  } catch {}
  return fresh;
}

async function request(path, options = {}) {
  const headers = { "X-Survey-Voter": voterId, "Content-Type": "application/json" };
  const response = await fetch(path, { ...options, headers, signal: AbortSignal.timeout(TIMEOUT) });
  if (response.ok || response.status === 409) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Error(problem.detail ?? `the server answered ${response.status}.`);
}

async function start() {
  element("again").hidden = element("other").hidden = true;
  element("status").textContent = "";
  try {
    const page = await (await request("/survey/questions")).json();
    remaining = page.questions;
    total = page.total;
    element("intro").hidden = remaining.length < total;
    await show();
  } catch (error) {
    failed(error);
  }
}

async function show() {
  element("progress").max = total;
  element("progress").value = total - remaining.length;
  element("ask").hidden = element("next").disabled = true;
  choice = null;
  if (remaining.length === 0) {
    element("status").textContent = "That was the last question. Thank you! Your answers are stored.";
    element("other").hidden = false;
    element("status").focus();
    return;
  }
  const [question, following] = remaining;
  const natural = question.kind === "natural";
  const pictures = question.pictures.map((name) => Object.assign(new Image(), { src: `/survey/pictures/${name}`, alt: "" }));
  element("status").textContent = "Loading the pictures.";
  await Promise.all(pictures.map((image) => image.decode())).catch(() => {
    throw new Error("a picture could not be loaded.");
  });
  element("question").textContent = natural ? "Which one looks most natural?" : "Is this a real color photograph, or was it colorized?";
  const choices = natural
    ? pictures.map((image, index) => option(question.pictures[index], LETTERS[index], `Picture ${LETTERS[index]}`, image))
    : [option("real", "Real photograph (R)"), option("colorized", "Colorized by a machine (M)")];
  element("choices").replaceChildren(...(natural ? [] : [Object.assign(pictures[0], { alt: "a photograph in color" })]), ...choices);
  element("choices").className = natural ? "natural" : "real";
  element("choices").style.setProperty("--pictures", pictures.length);
  element("keys").textContent = `By keyboard: ${natural ? [...LETTERS.slice(0, pictures.length)].join(", ") : "R, M"}, then Enter.`;
  element("status").textContent = `${total - remaining.length + 1} of ${total}`;
  element("ask").hidden = false;
  element("question").focus({ preventScroll: true });
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
  for (const each of element("choices").querySelectorAll("button")) each.setAttribute("aria-pressed", String(each === button));
  element("next").disabled = false;
}

async function vote() {
  if (busy || choice === null) return;
  busy = element("next").disabled = true;
  element("ask").setAttribute("aria-busy", "true");
  try {
    await request("/survey/votes", { method: "POST", body: JSON.stringify({ question: remaining[0].id, choice }) });
    remaining.shift();
    element("intro").hidden = true;
    await show();
  } catch (error) {
    failed(error);
  } finally {
    busy = false;
    element("ask").removeAttribute("aria-busy");
  }
}

function failed(error) {
  element("ask").hidden = true;
  const what = error.name === "TimeoutError" ? "the server does not answer." : error.message;
  element("status").textContent = `This failed: ${what} Your earlier answers are stored.`;
  element("again").hidden = false;
  element("again").focus();
}

// Letters are shortcuts only while the focus is in the question, so that typing elsewhere chooses nothing
element("ask").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || busy) return;
  if (event.key === "Enter" && event.target === element("question")) vote();
  const place = (remaining[0].kind === "natural" ? LETTERS : "RM").indexOf(event.key.toUpperCase());
  const button = event.key.length === 1 && element("choices").querySelectorAll("button")[place];
  if (button) choose(button);
});
element("next").addEventListener("click", vote);
element("again").addEventListener("click", start);
element("other").addEventListener("click", () => {
  voterId = voter(true);
  start();
});
start();
