// Color points on a picture: placed, moved and colored by mouse, finger or keyboard, undone, remembered, and sent as hints.

import { storedPoints, storePoints } from "./hint_store.js";
import { Palette, hex } from "./palette.js";

const element = (id) => document.getElementById(id);

const WHILE_DRAGGED = 150; // milliseconds between two pictures
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const inside = (share) => Math.min(Math.max(share, 0), 0.9999);

export class HintsView {
  // `changed` colorizes again; `query` are the options of the picture.
  constructor(changed, query) {
    this.changed = changed;
    this.query = query;
    this.points = []; // x and y as shares of the sides, and color
    this.earlier = []; // lists of points, for undo
    this.carried = null; // for the next picture
    this.palette = new Palette((color, together) => this.recolor(color, together));
    const actions = { "add-point": () => this.add(0.5, 0.5, true), "delete-point": () => this.remove(), "undo-point": () => this.undo(), "clear-points": () => this.change([]) };
    for (const [id, action] of Object.entries(actions)) element(id).addEventListener("click", action);
    element("hinting").addEventListener("click", () => this.toggle(element("colors").hidden));
    element("earlier-hints").addEventListener("click", () => this.useEarlier());
    element("carry-points").addEventListener("click", ({ target }) => target.setAttribute("aria-pressed", String(target.ariaPressed !== "true")));
    element("points").addEventListener("click", (event) => this.clicked(event));
    element("one").addEventListener("keydown", (event) => this.pressed(event));
  }

  // The points of another picture, which are carried over from the last one, or offered if they were set before.
  open(file, page) {
    if (element("carry-points").ariaPressed === "true" && this.points.length) this.carried = this.points;
    this.close();
    this.file = file;
    this.name = page > 1 ? `${file.name}#${page}` : file.name;
    this.points = this.carried ?? [];
    this.carried = null;
    const stored = this.points.length ? [] : storedPoints(this.name);
    element("earlier-hints").hidden = !stored.length;
    element("earlier-hints").textContent = `Use your ${stored.length} color point${stored.length === 1 ? "" : "s"} of earlier`;
    this.draw();
  }

  close() {
    this.points = [];
    this.earlier = [];
    this.selected = null;
    this.file = null;
    this.palette.clear();
    this.toggle(false);
    this.draw();
  }

  // As the server takes them: in pixels of the upright picture.
  hints() {
    const { naturalWidth, naturalHeight } = element("after");
    return this.points.map(({ x, y, color }) => ({ x: Math.floor(x * naturalWidth), y: Math.floor(y * naturalHeight), color }));
  }

  toggle(on) {
    element("colors").hidden = element("points").hidden = !on;
    element("decision").hidden = on;
    element("compare").classList.toggle("hinting", on);
    element("hinting").setAttribute("aria-pressed", String(on));
    if (on) this.palette.showOwn(element("after"));
  }

  useEarlier() {
    element("earlier-hints").hidden = true;
    this.toggle(true);
    this.change(storedPoints(this.name));
  }

  add(x, y, focus) {
    this.change([...this.points, { x: inside(x), y: inside(y), color: this.colorAt(x, y) }]);
    this.select(this.points.length - 1, focus);
  }

  remove() {
    if (this.selected === null) return;
    this.change(this.points.toSpliced(this.selected, 1));
    (element("points").lastElementChild ?? element("add-point")).focus();
  }

  undo() {
    if (!this.earlier.length) return;
    this.points = this.earlier.pop();
    this.apply();
  }

  recolor(color, together = false) {
    if (this.selected === null) {
      element("points-status").textContent = "Click on the picture first, or add a point.";
      return;
    }
    this.change(this.points.with(this.selected, { ...this.points[this.selected], color }), together);
    element("any-color").value = color;
  }

  // Another list of points, which can be undone; `together` with the change before, as while a key is held.
  change(points, together = false) {
    if (!together) this.earlier.push(this.points);
    this.points = points;
    this.apply();
  }

  apply() {
    if (this.selected !== null && this.selected >= this.points.length) this.selected = null;
    storePoints(this.name, this.points);
    this.draw();
    this.changed();
  }

  select(index, focus = false) {
    this.selected = index;
    this.draw();
    if (focus) element("points").children[index].focus();
    this.suggest();
  }

  suggest() {
    const { format, ...query } = this.query();
    const { x, y } = this.hints()[this.selected];
    this.palette.show(this.file, { ...query, x, y }, this.points[this.selected].color);
  }

  clicked(event) {
    if (event.target !== element("points")) return; // a point
    const box = element("points").getBoundingClientRect();
    this.add((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }

  pressed(event) {
    if (element("colors").hidden) return;
    const index = [...element("points").children].indexOf(event.target);
    if (event.key === "z" && (event.ctrlKey || event.metaKey)) this.undo();
    else if (index >= 0 && ["Delete", "Backspace"].includes(event.key)) this.remove();
    else if (index >= 0 && event.key in ARROWS) this.nudge(index, ...ARROWS[event.key], event.shiftKey ? 0.05 : 0.01, event.repeat);
    else return;
    event.preventDefault();
  }

  nudge(index, x, y, step, together) {
    this.move(index, this.points[index].x + x * step, this.points[index].y + y * step, together);
    this.select(index, true);
  }

  move(index, x, y, together) {
    this.change(this.points.with(index, { ...this.points[index], x: inside(x), y: inside(y) }), together);
  }

  drag(event, index) {
    event.preventDefault();
    event.target.focus();
    this.select(index, true);
    const point = element("points").children[index];
    point.setPointerCapture(event.pointerId);
    let shown = 0;
    let moved = false;
    point.onpointermove = ({ clientX, clientY, timeStamp }) => {
      const box = element("points").getBoundingClientRect();
      const [x, y] = [inside((clientX - box.left) / box.width), inside((clientY - box.top) / box.height)];
      if (!moved) this.earlier.push(this.points);
      moved = true;
      this.points = this.points.with(index, { ...this.points[index], x, y });
      place(point, this.points[index]);
      if (timeStamp - shown < WHILE_DRAGGED) return;
      shown = timeStamp;
      this.changed();
    };
    point.onpointerup = point.onpointercancel = () => {
      point.onpointermove = null;
      if (!moved) return;
      this.apply();
      this.select(index, true);
    };
  }

  // The color that is shown there.
  colorAt(x, y) {
    const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
    const { naturalWidth, naturalHeight } = element("after");
    canvas.getContext("2d").drawImage(element("after"), Math.floor(x * naturalWidth), Math.floor(y * naturalHeight), 1, 1, 0, 0, 1, 1);
    return hex([...canvas.getContext("2d").getImageData(0, 0, 1, 1).data.slice(0, 3)]);
  }

  draw() {
    const focused = [...element("points").children].indexOf(document.activeElement);
    const points = this.points.map((point, index) => {
      const button = Object.assign(document.createElement("button"), { type: "button", className: "point" });
      place(button, point);
      button.setAttribute("aria-label", `Point ${index + 1}: ${point.color}, ${Math.round(point.x * 100)}% from the left, ${Math.round(point.y * 100)}% from the top`);
      button.setAttribute("aria-pressed", String(index === this.selected));
      button.addEventListener("pointerdown", (event) => this.drag(event, index));
      button.addEventListener("focus", () => index !== this.selected && this.select(index, true));
      return button;
    });
    element("points").replaceChildren(...points);
    if (focused >= 0) points[Math.min(focused, points.length - 1)]?.focus();
    element("delete-point").disabled = this.selected === null;
    element("undo-point").disabled = !this.earlier.length;
    element("clear-points").disabled = !this.points.length;
    element("points-status").textContent = this.points.length ? `${this.points.length} color point${this.points.length === 1 ? "" : "s"}` : "";
  }
}

function place(button, { x, y, color }) {
  button.style.left = `${x * 100}%`;
  button.style.top = `${y * 100}%`;
  button.style.setProperty("--color", color);
}
