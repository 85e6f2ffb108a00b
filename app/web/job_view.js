// Several pictures: a job, a tile for each picture, and a ZIP archive at the end.

import { call, events, key } from "./api.js";
import { isDisplayable, percent, save } from "./files.js";
import { chosenOptions } from "./options.js";

const element = (id) => document.getElementById(id);

export class JobView {
  constructor(showStatus, open) {
    this.showStatus = showStatus;
    this.openOne = open;
    this.tiles = [];
    this.urls = [];
    this.visible = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => this.load(target)));
    element("cancel").addEventListener("click", () => this.cancel());
    element("zip").addEventListener("click", () => this.download());
  }

  async open(pictures) {
    this.begin(pictures.length);
    pictures.forEach(({ file, path }, index) => this.tile(index, path, file));
    this.showStatus(`Sending ${pictures.length} pictures…`);
    const form = new FormData();
    for (const { file, path } of pictures) form.append("files", file, path);
    const signal = this.work.signal;
    try {
      const query = chosenOptions();
      const job = await (await call("/v1/jobs", { method: "POST", body: form, query, signal })).json();
      history.replaceState(null, "", `#job=${job.id}`);
      await this.follow(job.id, signal);
    } catch (error) {
      this.fail(error);
    }
  }

  // Shows a job that was created before this page was opened.
  async resume(job) {
    this.work?.abort();
    this.work = new AbortController();
    try {
      const status = await (await call(`/v1/jobs/${job}`, { signal: this.work.signal })).json();
      this.begin(status.total);
      element("earlier").hidden = true; // it is the job that is shown
      history.replaceState(null, "", `#job=${job}`);
      await this.follow(job, this.work.signal);
    } catch (error) {
      this.fail(error);
    }
  }

  close() {
    this.work?.abort();
    if (this.job) {
      element("earlier").hidden = element("cancel").hidden; // an unfinished job continues on the server
      element("earlier").firstElementChild.href = `#job=${this.job}`;
    }
    this.urls.splice(0).forEach(URL.revokeObjectURL);
    this.tiles = [];
    this.job = null;
    element("many").hidden = true;
    if (location.hash) history.replaceState(null, "", location.pathname);
  }

  begin(total) {
    this.close();
    this.work = new AbortController();
    this.total = total;
    this.done = this.failed = 0;
    element("grid").replaceChildren();
    element("zip").hidden = true;
    element("cancel").hidden = false;
    element("many").hidden = false;
    this.count();
  }

  async follow(job, signal) {
    this.job = job;
    this.showStatus("");
    for await (const { type, data } of events(job, signal)) {
      if (type === "end") this.finish(data);
      else if (type === "lost") this.showStatus("The connection was lost; trying again…");
      else this.update(data);
    }
  }

  update({ index, record }) {
    if (element("status").textContent) this.showStatus("");
    const tile = this.tiles[index] ?? this.tile(index, record.name);
    const text = tile.querySelector(".what");
    if (record.problem) {
      this.failed += 1;
      tile.classList.add("failed");
      text.textContent = record.problem.detail;
    } else {
      this.done += 1;
      tile.classList.add("done");
      const { category, confidence, fell_back } = record.decision;
      text.textContent = fell_back ? `${category} (unsure)` : `${category} ${percent(confidence)}`;
      if (/\.(jpe?g|jfif|jpe|png|webp|avif)$/i.test(record.output)) this.visible.observe(tile);
    }
    this.count();
  }

  finish(status) {
    element("cancel").hidden = true;
    element("zip").hidden = !status.done;
    const failed = status.failed ? `, ${status.failed} failed` : "";
    const ended = status.state === "cancelled" ? "Cancelled: " : "";
    this.showStatus(`${ended}${status.done} of ${status.total} pictures colorized${failed}.`);
    for (const tile of this.tiles) {
      if (tile && !tile.matches(".done, .failed")) tile.querySelector(".what").textContent = "cancelled";
    }
  }

  count() {
    const finished = this.done + this.failed;
    element("many-title").textContent = `${finished} of ${this.total}`;
    element("progress").max = this.total;
    element("progress").value = finished;
  }

  tile(index, name, file) {
    const tile = document.createElement("li");
    const image = document.createElement("img");
    image.alt = "";
    image.loading = "lazy";
    image.addEventListener("error", () => image.removeAttribute("src"));
    const title = document.createElement(file ? "button" : "span");
    title.className = "name";
    title.textContent = name;
    if (file) {
      title.type = "button";
      title.title = "Compare before and after";
      title.addEventListener("click", () => this.openOne(file));
      if (isDisplayable(file)) image.src = this.url(file);
    }
    const what = document.createElement("span");
    what.className = "what quiet";
    what.textContent = "waiting";
    tile.append(image, title, what);
    tile.dataset.index = index;
    this.tiles[index] = tile;
    element("grid").append(tile);
    return tile;
  }

  // Fetches the output when its tile becomes visible.
  async load(tile) {
    this.visible.unobserve(tile);
    const path = `/v1/jobs/${this.job}/result/${tile.dataset.index}`;
    const output = call(path, { signal: this.work.signal }).then((response) => response.blob());
    const blob = await output.catch(() => null); // the tile keeps showing the input
    if (blob && tile.isConnected) tile.querySelector("img").src = this.url(blob);
  }

  url(blob) {
    const url = URL.createObjectURL(blob);
    this.urls.push(url);
    return url;
  }

  async cancel() {
    if (!this.job) {
      this.close();
      this.showStatus("");
      return;
    }
    try {
      await call(`/v1/jobs/${this.job}/cancel`, { method: "POST" });
    } catch (error) {
      this.fail(error);
    }
  }

  // Without a key the browser can download the archive itself, whatever its size.
  async download() {
    const path = `/v1/jobs/${this.job}/result`;
    if (!key.get()) {
      location.assign(path);
      return;
    }
    try {
      save(await (await call(path)).blob(), "colorized.zip");
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error) {
    if (error.name === "AbortError") return;
    if (!this.job && error.status !== 401) this.close();
    this.showStatus(error.message, error);
  }
}
