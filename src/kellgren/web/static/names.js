// Names of files, remembered for as long as this tab is open, so that a reader knows which film is
// which. They are not asked of the server, which forgets them.

const KEY = "kellgren-names";
let names = {};
try {
  names = JSON.parse(sessionStorage.getItem(KEY)) || {};
} catch {
  names = {};
}

export function remember(id, name) {
  names[id] = name;
  try {
    sessionStorage.setItem(KEY, JSON.stringify(names));
  } catch {
    // A full or forbidden storage: the names last until the next reload.
  }
}

export function nameOf(entry) {
  return names[entry.id] || entry.image;
}
