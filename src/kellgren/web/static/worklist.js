// The work-list: films as they come in, filtered by grade, doubt or refusal.

import { exampleFile } from "./atlas.js";
import { looksLikeFilm } from "./api.js";
import { SIDES, ago, h, icon, reasonOf } from "./dom.js";
import { nameOf } from "./names.js";
import { ROOT } from "./root.js";
import { gradeWords } from "./verdict.js";
import { dismiss, subscribe, newestFirst, appState, send, show } from "./state.js";

const NOT_GRADED = new Set(["refused", "failed"]);
const FILTERS = [
  ["all", "All", () => true],
  ...[0, 1, 2, 3, 4].map((grade) => [`grade-${grade}`, String(grade), (one) => one.knees.some((knee) => knee.reading.named && knee.reading.grade === grade)]),
  ["doubt", "In doubt", (one) => one.knees.some((knee) => knee.reading.certainty === "low" || !knee.reading.named)],
  ["refused", "Not graded", (one) => NOT_GRADED.has(one.state)],
];

export function filtered() {
  const [, , fits] = FILTERS.find(([name]) => name === appState.filter);
  return newestFirst().filter(fits);
}

export function gradeChip(grade) {
  return h("span", { class: `chip grade-${grade}` }, h("span", { class: "unseen" }, "grade "), String(grade));
}

function openChip() {
  return h("span", { class: "chip" }, h("span", { class: "unseen" }, "no grade named "), "?");
}

export function workList(go) {
  const element = h("div", { class: "list-view" });
  const draw = () => {
    const focused = document.activeElement?.dataset?.key;
    element.replaceChildren(...parts());
    if (focused) element.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  };
  const leave = subscribe(draw);
  draw();
  return { name: "list", title: "Work-list", element, leave, onKey: (event, down) => down && move(element, event) };
}

function parts() {
  const none = !appState.cases.size && !appState.sending.length;
  const trouble = appState.trouble && h("p", { class: "notice bad", role: "alert" }, `${appState.trouble} Trying again.`);
  if (none) return [trouble, empty()].filter(Boolean);
  const cases = filtered();
  return [
    trouble,
    h("div", { class: "list-head" },
      h("h1", {}, "Work-list"),
      h("div", { class: "add" }, choosers("quiet")),
      filters()),
    appState.filter === "all" && appState.sending.length && h("ul", { class: "rows", "aria-label": "On the way" }, appState.sending.map(sendingRow)),
    cases.length
      ? h("ul", { class: "rows", "aria-label": "Films" }, cases.map(row))
      : appState.filter !== "all" && h("p", { class: "notice" }, "No film fits this filter."),
  ].filter(Boolean);
}

function empty() {
  return h("section", { class: "empty" },
    h("img", { src: `${ROOT}/static/icon.svg`, alt: "", width: 72, height: 72 }),
    h("h1", {}, "Drop knee X-rays here"),
    h("p", {}, "PNG, JPEG, TIFF or DICOM. One file, many, or a whole folder."),
    h("div", { class: "add" }, choosers("primary"),
      h("button", { type: "button", "data-key": "example", onclick: async () => send([await exampleFile()]) }, "Try an example")),
    h("p", { class: "small" }, "Films are read on the machine that runs this server and go nowhere else."));
}

function choosers(kind) {
  const pick = (folder) => {
    const input = h("input", { type: "file", multiple: true, webkitdirectory: folder });
    input.addEventListener("change", () => send([...input.files].filter((file) => !folder || looksLikeFilm(file))));
    input.click();
  };
  return [
    h("button", { type: "button", class: kind, "data-key": "files", onclick: () => pick(false) }, kind === "quiet" && icon("add"), kind === "quiet" ? "Add films" : "Choose films"),
    h("button", { type: "button", "data-key": "folder", class: kind === "quiet" ? "quiet" : "", onclick: () => pick(true) }, "Choose a folder"),
  ];
}

function filters() {
  const all = newestFirst();
  return h("div", { class: "filters", role: "group", "aria-label": "Show" }, FILTERS.map(([name, label, fits]) => {
    const count = all.filter(fits).length;
    return h("button", {
      type: "button", class: `filter ${name}`, "data-key": `filter-${name}`, "aria-pressed": String(appState.filter === name),
      disabled: name !== "all" && !count && appState.filter !== name,
      onclick: () => { show(appState.filter === name ? "all" : name) },
    }, h("span", {}, name.startsWith("grade") && h("span", { class: "unseen" }, "Grade "), label, h("span", { class: "unseen" }, ", films: ")),
    h("span", { class: "count" }, String(count)));
  }));
}

function sendingRow(one) {
  return h("li", {}, h("div", { class: `row sending ${one.error ? "bad" : ""}` },
    h("span", { class: "thumb" }),
    h("span", { class: "what" }, h("strong", {}, one.name), h("span", { class: "words" }, one.error || (one.under ? "Sending" : "Waits to be sent"))),
    one.error && h("button", { type: "button", class: "quiet", onclick: () => dismiss(one) }, "Dismiss")));
}

function row(one) {
  const first = one.knees[0] || one.refused[0];
  const state = one.state;
  return h("li", {}, h("a", { class: `row ${state}`, href: `${ROOT}/cases/${one.id}`, "data-link": true, "data-key": one.id },
    h("span", { class: "thumb" }, first && h("img", { src: first.picture, alt: "", loading: "lazy", width: 64, height: 64 }), NOT_GRADED.has(state) && icon("refused")),
    h("span", { class: "what" },
      h("strong", {}, nameOf(one)),
      h("span", { class: "words" }, words(one))),
    h("span", { class: "grades" }, one.knees.map((knee) => h("span", { class: "knee" },
      bars(knee.reading.probabilities),
      h("span", { class: "side", title: SIDES[knee.reading.side] }, knee.reading.side || "?"),
      knee.reading.named ? gradeChip(knee.reading.grade) : openChip()))),
    h("time", { datetime: one.created }, ago(one.created))));
}

function words(one) {
  if (one.state === "waiting") return "Waits for a grader";
  if (one.state === "working") return "Being read";
  if (NOT_GRADED.has(one.state)) return `Not graded. ${reasonOf(one)}`;
  return one.knees
    .map(({ reading }) => `${reading.side ? `${SIDES[reading.side]}: ` : ""}${gradeWords(reading, appState.about.grades)}, ${reading.certainty} certainty`)
    .join(" · ");
}

function bars(probabilities) {
  return h("span", { class: "bars", "aria-hidden": "true" }, probabilities.map((p, grade) => h("i", { class: `grade-${grade}`, vars: { "--p": Math.max(0.06, p) } })));
}

function move(element, event) {
  const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
  if (!step) return false;
  const rows = [...element.querySelectorAll("a.row")];
  const at = rows.indexOf(document.activeElement);
  const next = rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + step))];
  next?.focus();
  return Boolean(next);
}
