// The page: reads one or several pictures, and asks for an API key if the server needs one.

import { call, key } from "./api.js";
import { filesFromDrop, filesFromInput } from "./files.js";
import { JobView } from "./job_view.js";
import { initOptions } from "./options.js";
import { PictureView } from "./picture_view.js";

const element = (id) => document.getElementById(id);

function showStatus(text, error) {
  element("status").textContent = text;
  element("status").classList.toggle("error", Boolean(error));
  if (error?.status === 401) {
    element("access").hidden = false;
    element("key").focus();
  }
}

const picture = new PictureView(showStatus);
const job = new JobView(showStatus, (file) => {
  picture.open(file);
  element("status").scrollIntoView();
});

let latest = []; // the last chosen pictures, opened again once an API key is given

function openPictures(pictures) {
  latest = pictures;
  if (!pictures.length) {
    showStatus("No pictures were found.", new Error());
    return;
  }
  picture.close();
  job.close();
  if (pictures.length === 1) picture.open(pictures[0].file);
  else job.open(pictures);
}

for (const id of ["files", "folder"]) {
  element(id).addEventListener("change", (event) => {
    const pictures = filesFromInput(event.target.files);
    event.target.value = ""; // so that the same choice can be made again
    openPictures(pictures);
  });
}

for (const type of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    element("drop").classList.toggle("over", type === "dragover");
    if (type === "drop") filesFromDrop(event.dataTransfer).then(openPictures, (error) => showStatus(error.message, error));
  });
}

initOptions((name) => picture.optionChanged(name));

document.addEventListener("paste", (event) => {
  if (event.target.matches?.("input[type=password], input[type=number]")) return;
  if (event.clipboardData.files.length) openPictures(filesFromInput(event.clipboardData.files));
});

element("access").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(element("key").value.trim());
  element("access").hidden = true;
  showStatus("");
  begin();
  if (latest.length) openPictures(latest);
});

window.addEventListener("hashchange", () => {
  picture.close();
  begin();
});

function begin() {
  listCategories().catch((error) => showStatus(error.message, error));
  const id = /^#job=(\w+)$/.exec(location.hash)?.[1];
  if (id) job.resume(id);
}

async function listCategories() {
  const categories = await (await call("/v1/categories")).json();
  const options = ["auto", ...categories.map(({ name }) => name)].map((name) => new Option(name, name));
  element("categories").replaceChildren(...options);
}

begin();
