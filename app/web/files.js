// Reads pictures from file inputs and drops, including folders; saves files; and formats shares.

const PICTURES = /\.(jpe?g|jfif|jpe|png|webp|tiff?|bmp|gif|avif|jp2|j2k|heic)$/i;
const DISPLAYABLE_TYPES = ["image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/avif"];

export const percent = (share) => (share > 0 && share < 0.005 ? "<1%" : `${Math.round(share * 100)}%`);

export const isDisplayable = (file) => DISPLAYABLE_TYPES.includes(file.type);

// From a folder, only files with the suffix of a picture; otherwise all chosen files, because the server explains what it cannot read.
export function filesFromInput(list) {
  return [...list]
    .filter((file) => !file.webkitRelativePath || PICTURES.test(file.name))
    .map((file) => ({ file, path: file.webkitRelativePath || file.name }));
}

export async function filesFromDrop(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return filesFromInput(transfer.files);
  return (await Promise.all(entries.map((entry) => walk(entry, "")))).flat();
}

async function walk(entry, parent) {
  const path = parent + entry.name;
  if (entry.isFile) {
    if (parent && !PICTURES.test(entry.name)) return [];
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ file, path }];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break;
    found.push(...(await Promise.all(some.map((child) => walk(child, `${path}/`)))).flat());
  }
  return found;
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export function outputName(name, type) {
  const suffix = type.split("/")[1].replace("jpeg", "jpg");
  return `${name.replace(/\.[^.]*$/, "")}-colorized.${suffix}`;
}
