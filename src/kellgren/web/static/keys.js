// The sheet of all shortcuts.

import { h } from "./dom.js";

const SHEET = [
  ["Work-list", [["J", "next film"], ["K", "film before"], ["Enter", "open it"]]],
  ["Looking", [
    ["drag", "window and level"],
    ["wheel", "zoom"],
    ["middle drag", "pan (or shift and drag)"],
    ["F", "fit"],
    ["Z", "one to one"],
    ["I", "invert"],
    ["H", "mirror the view; the side label stays"],
    ["R  L", "turn right, turn left"],
    ["O", "one orientation for both knees"],
    ["W", "window back to normal"],
  ]],
  ["Case", [
    ["M", "map on and off"],
    ["P", "hold: peek at the map"],
    ["G", "joint space on and off"],
    ["Tab", "to a margin of the joint space"],
    [",  .", "choose another point of it"],
    ["arrows", "move the point (Shift: far, Alt: alone)"],
    ["S", "atlas knees or the most similar ones"],
    ["J  K", "next case, case before"],
    ["Esc", "back to the work-list"],
  ]],
  ["Study", [
    ["0  4", "grade, 0 to 4"],
    ["U", "ungradable"],
    ["Enter", "next knee, once graded"],
    ["Backspace", "knee before, to revise"],
    ["C", "comment"],
  ]],
  ["Everywhere", [["?", "this sheet"]]],
];

export function keySheet() {
  if (document.querySelector("dialog[open]")) return;
  const sheet = h(
    "dialog",
    { class: "sheet", "aria-labelledby": "sheet-title", onclose: () => sheet.remove() },
    h("header", {}, h("h2", { id: "sheet-title" }, "Keyboard"),
      h("button", { type: "button", class: "quiet", autofocus: true, onclick: () => sheet.close() }, "Close")),
    h("div", { class: "sheet-groups" }, SHEET.map(([title, rows]) =>
      h("section", {}, h("h3", {}, title), h("dl", {}, rows.map(([keys, what]) =>
        h("div", {}, h("dt", {}, keys.split("  ").map((key) => h("kbd", {}, key))), h("dd", {}, what))))))),
  );
  document.body.append(sheet);
  sheet.showModal();
}

export function confirmSheet(title, text, action) {
  return new Promise((done) => {
    const sheet = h(
      "dialog",
      { class: "sheet small", "aria-labelledby": "sheet-title", onclose: () => { sheet.remove(); done(sheet.returnValue === "yes"); } },
      h("h2", { id: "sheet-title" }, title),
      h("p", {}, text),
      h("footer", {},
        h("button", { type: "button", autofocus: true, onclick: () => sheet.close("no") }, "Keep it"),
        h("button", { type: "button", class: "danger", onclick: () => sheet.close("yes") }, action)),
    );
    document.body.append(sheet);
    sheet.showModal();
  });
}
