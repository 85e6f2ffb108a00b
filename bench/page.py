"""Measures the page in a browser: from the choice of a picture to its colors, and the frames while the slider moves."""

import shutil
import statistics
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

START = """() => {
  const start = () => { window.started = performance.now(); };
  document.getElementById("files").addEventListener("change", start, { capture: true, once: true });
  window.shown = new Promise((resolve) => {
    const check = () => {
      const after = document.getElementById("after");
      const done = document.getElementById("category").textContent && after.complete && !document.querySelector("#one.busy");
      if (done) requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - window.started)));
      else requestAnimationFrame(check);
    };
    check();
  });
}"""
DRAG = """async () => {
  const cut = document.getElementById("cut"), frames = [];
  let last = performance.now();
  for (let step = 0; step < 120; step += 1) {
    cut.value = 50 + 45 * Math.sin(step / 10);
    cut.dispatchEvent(new Event("input", { bubbles: true }));
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    frames.push(now - last);
    last = now;
  }
  return frames;
}"""


def measure_page(address: str, picture: Path, repeats: int) -> tuple[float, float]:
    """Milliseconds from the choice of a picture to its first full view in color, and frames a second while the slider moves."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        times = [_shown_after(page, address, picture) for _ in range(repeats + 1)][1:]
        page.wait_for_timeout(3000)  # the other categories have been shown
        frames = page.evaluate(DRAG)
        browser.close()
    return statistics.median(times), 1000 / statistics.median(frames[10:])


def _shown_after(page: Page, address: str, picture: Path) -> float:
    page.goto(address)
    page.wait_for_load_state("networkidle")
    page.evaluate(START)
    page.set_input_files("#files", picture)
    return float(page.evaluate("window.shown"))
