// Color points by the name of a picture, remembered in this browser, with relative positions.

const KEY = "chromaroute-hints";
const MOST = 200; // pictures

// Storage may be disabled, as in some private windows: then points last as long as the page.
function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}

export const storedPoints = (name) => (Array.isArray(read()[name]) ? read()[name] : []);

export function storePoints(name, points) {
  const { [name]: _, ...others } = read();
  const entries = [...Object.entries(others).slice(-MOST + 1), ...(points.length ? [[name, points]] : [])];
  try {
    localStorage.setItem(KEY, JSON.stringify(Object.fromEntries(entries)));
  } catch {}
}
