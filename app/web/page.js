// The page: takes pictures in, one or many, and asks for a key where the server wants one.

import { key } from "./api.js";
import { chosen, dropped } from "./files.js";
import { Many } from "./many.js";
import { listCategories, One } from "./one.js";

const part = (id) => document.getElementById(id);
const routing = () => document.querySelector("input[name=routing]:checked").value;

function say(text, error) {
  part("status").textContent = text;
  part("status").classList.toggle("error", Boolean(error));
  if (error?.status === 401) {
    part("access").hidden = false;
    part("key").focus();
  }
}

const one = new One(say, routing);
const many = new Many(say, routing, (file) => {
  one.open(file);
  part("status").scrollIntoView();
});

let latest = []; // pictures that were chosen last: they wait where a key is asked for

function take(pictures) {
  latest = pictures;
  if (!pictures.length) {
    say("There was no picture in that.", new Error());
    return;
  }
  one.close();
  many.close();
  if (pictures.length === 1) one.open(pictures[0].file);
  else many.open(pictures);
}

for (const id of ["files", "folder"]) {
  part(id).addEventListener("change", (event) => {
    const pictures = chosen(event.target.files);
    event.target.value = ""; // so that the same choice can be made again
    take(pictures);
  });
}

for (const type of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    part("drop").classList.toggle("over", type === "dragover");
    if (type === "drop") dropped(event.dataTransfer).then(take, (error) => say(error.message, error));
  });
}

document.querySelectorAll("input[name=routing]").forEach((input) => input.addEventListener("change", () => one.paint(one.category)));

part("access").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(part("key").value.trim());
  part("access").hidden = true;
  say("");
  begin();
  if (latest.length) take(latest);
});

window.addEventListener("hashchange", () => {
  one.close();
  begin();
});

function begin() {
  listCategories().catch((error) => say(error.message, error));
  const job = /^#job=(\w+)$/.exec(location.hash)?.[1];
  if (job) many.resume(job);
}

begin();
