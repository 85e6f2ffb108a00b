// The picture at 100%: a pixel of the screen for each of its own, in a box that scrolls.

const element = (id) => document.getElementById(id);

export function initZoom() {
  element("zoom").addEventListener("click", () => zoom(!element("viewport").classList.contains("actual")));
}

export function zoom(actual) {
  const box = element("viewport");
  box.classList.toggle("actual", actual);
  element("zoom").setAttribute("aria-pressed", String(actual));
  if (!actual) {
    box.removeAttribute("tabindex");
    return;
  }
  box.tabIndex = 0; // so that the arrow keys scroll it
  const line = box.scrollWidth * (element("cut").value / 100);
  box.scrollTo(line - box.clientWidth / 2, (box.scrollHeight - box.clientHeight) / 2);
}
