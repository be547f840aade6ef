// Elements from values. Text is only ever text: nothing here, or anywhere else, parses HTML.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "vars") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else if (value === true) element.setAttribute(name, "");
    else element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  for (const line of ICONS[name]) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", line);
    svg.append(path);
  }
  return svg;
}

const ICONS = {
  add: ["M12 5v14", "M5 12h14"],
  back: ["M15 5l-7 7 7 7"],
  next: ["M9 5l7 7-7 7"],
  fit: ["M4 9V4h5", "M20 9V4h-5", "M4 15v5h5", "M20 15v5h-5"],
  actual: ["M7 8v8", "M17 8v8", "M12 10v.01", "M12 14v.01"],
  invert: ["M12 3a9 9 0 1 0 0 18z", "M12 3a9 9 0 0 1 0 18"],
  mirror: ["M12 3v18", "M9 7l-5 10h5z", "M15 7l5 10h-5z"],
  turn: ["M20 12a8 8 0 1 1-3-6.200", "M20 3v4h-4"],
  turnback: ["M4 12a8 8 0 1 0 3-6.200", "M4 3v4h4"],
  same: ["M4 8h11l-3-3", "M4 16h11l-3 3", "M20 4v16"],
  map: ["M12 3c4 4 6 7 6 10a6 6 0 0 1-12 0c0-2 1-3 2-4 0 2 1 3 2 3 1-3 0-6 2-9z"],
  space: ["M3 8c4 4 6 3 9 1 3 2 5 3 9-1", "M3 17c4-3 6-2 9-3 3 1 5 0 9 3"],
  reset: ["M4 12h16", "M4 6h16", "M4 18h16", "M9 4v4", "M15 10v4", "M8 16v4"],
  passed: ["M5 13l4 4L19 7"],
  warning: ["M12 8v5", "M12 17v.01"],
  refused: ["M6 6l12 12", "M18 6L6 18"],
  unknown: ["M8 12h8"],
  bin: ["M5 7h14", "M10 7V4h4v3", "M7 7l1 13h8l1-13"],
  save: ["M12 4v11", "M7 11l5 5 5-5", "M5 20h14"],
};

export function announce(text) {
  document.getElementById("say").textContent = text;
}

export function wordOf(grade, grades) {
  const name = grades[grade].name;
  return name[0].toUpperCase() + name.slice(1);
}

export const SIDES = { L: "Left", R: "Right", "": "Side unknown" };

export function ago(date) {
  const minutes = Math.round((Date.now() - new Date(date).getTime()) / 60000);
  if (minutes < 1) return "now";
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 24 * 60) return `${Math.round(minutes / 60)} h ago`;
  return new Date(date).toLocaleDateString();
}

// A note speaks of its file without naming it: "is a text file. Name the X-ray itself."
export function reasonOf(entry) {
  const { note } = entry;
  if (/^(is|has|holds|claims|does|cannot|could|may|needs|shows) /.test(note)) return `The file ${note}`;
  return note ? note[0].toUpperCase() + note.slice(1) : "No reason was given.";
}
