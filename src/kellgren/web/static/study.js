// Reading studies: make one, read it blind by keys, see how readers agree.

import * as api from "./api.js";
import { SIDES, h, announce, wordOf } from "./dom.js";
import { confirmSheet } from "./keys.js";
import { ROOT } from "./root.js";
import { appState } from "./state.js";
import { Light, Panes } from "./viewer.js";

const shownGrade = (grade) => (grade === null ? "U" : String(grade));

function loading(name, title, load) {
  const element = h("div", { class: "list-view" }, h("p", { class: "notice", role: "status" }, "Loading"));
  const view = { name, title, element, leave: () => {}, onKey: () => false };
  load(element, view).catch((error) => element.replaceChildren(h("section", { class: "centre" }, h("div", { class: "card" },
    h("h1", {}, error.status === 404 || error.status === 422 ? "No such study" : "The study did not load"), h("p", {}, error.message),
    h("a", { class: "button", href: `${ROOT}/studies`, "data-link": true }, "To the studies")))));
  return view;
}

export function studyList(go) {
  return loading("list", "Studies", async (element) => {
    const studies = await api.studies();
    const ready = [...appState.cases.values()].filter((one) => one.state === "graded").length;
    element.replaceChildren(
      h("div", { class: "list-head" }, h("h1", {}, "Reading studies")),
      h("div", { class: "study-columns" },
        studies.length
          ? h("ul", { class: "rows", "aria-label": "Studies" }, studies.map((study) => h("li", {}, h("a", { class: "row study", href: `${ROOT}/studies/${study.id}`, "data-link": true },
            h("span", { class: "what" }, h("strong", {}, study.name), h("span", { class: "words" }, `${study.knees} knees`)),
            h("span", { class: "words" }, study.readers.map((reader) => `${reader.name} ${reader.done}/${study.knees}`).join(" · "))))))
          : h("p", { class: "notice" }, "No study yet. A study has its knees read blind by one or several readers, in an order of each reader's own."),
        newStudy(ready, go)));
  });
}

function newStudy(ready, go) {
  const name = h("input", { id: "study-name", required: true, maxlength: 100, autocomplete: "off" });
  const readers = h("textarea", { id: "study-readers", rows: 3, required: true, spellcheck: "false" });
  const trouble = h("p", { class: "error", role: "alert" });
  return h("form", { class: "card", onsubmit: async (event) => {
    event.preventDefault();
    const names = readers.value.split("\n").map((one) => one.trim()).filter(Boolean);
    try {
      const made = await api.post(`${ROOT}/api/v1/studies`, { name: name.value, readers: names, cases: [] });
      go(`${ROOT}/studies/${made.id}`);
    } catch (error) {
      trouble.textContent = error.status === 422 ? "Every reader needs a name of their own." : error.message;
    }
  } },
  h("h2", {}, "New study"),
  h("p", { class: "small" }, ready ? `Of all knees in the ${ready} graded films of the work-list.` : "Drop films into the work-list first: a study is made of those that were graded."),
  h("label", { for: "study-name" }, "Name"), name,
  h("label", { for: "study-readers" }, "Readers, one a line"), readers,
  trouble,
  h("button", { class: "primary", type: "submit", disabled: !ready }, "Make the study"));
}

export function studyResults(id, go) {
  return loading("list", "Study", async (element) => {
    const draw = async () => {
      const study = await api.study(id);
      const { results } = study;
      element.replaceChildren(
        h("div", { class: "list-head" },
          h("a", { class: "button quiet", href: `${ROOT}/studies`, "data-link": true }, "Studies"),
          h("h1", {}, study.name), h("span", { class: "words" }, `${study.knees} knees`),
          h("div", { class: "row-of-buttons push" },
            h("a", { class: "button", href: `${ROOT}/api/v1/studies/${id}/study.csv`, download: `${id}.csv` }, "CSV"),
            h("button", { type: "button", class: "quiet", onclick: async () => {
              if (!(await confirmSheet("Delete this study?", "All its reads are removed from the server. The films stay.", "Delete"))) return;
              await api.removeStudy(id);
              go(`${ROOT}/studies`);
            } }, "Delete"))),
        h("section", { class: "block" }, h("h2", {}, "Readers"), h("ul", { class: "rows" }, study.readers.map((reader, place) => {
          const own = results.readers[place];
          const seconds = own.median_seconds === null ? "" : `, median ${own.median_seconds.toFixed(1)} s a knee, ${own.revised} revised, ${own.ungradable} ungradable`;
          return h("li", {}, h("div", { class: "row study" },
            h("span", { class: "what" }, h("strong", {}, reader.name), h("span", { class: "words" }, `${reader.done} of ${study.knees} read${seconds}`)),
            h("a", { class: "button", href: reader.page, "data-link": true }, h("span", {}, reader.done === 0 ? "Read" : reader.done < study.knees ? "Go on" : "Look again", h("span", { class: "unseen" }, ` as ${reader.name}`)))));
        }))),
        h("section", { class: "block" }, h("h2", {}, "Agreement of first reads"), h("div", { class: "pairs" }, results.pairs.map((pair) => pairCard(pair)))),
        h("section", { class: "block" }, h("h2", {}, "To settle"), settleList(id, results.differing, draw)),
        calibrationBlock(id, study.name));
    };
    await draw();
  });
}

function calibrationBlock(id, name) {
  const shown = h("div", { "aria-live": "polite" });
  const estimate = h("button", { type: "button", onclick: async () => {
    estimate.disabled = true;
    shown.replaceChildren(h("p", { class: "words" }, "Judging every knee by calibrations without its patient…"));
    try {
      shown.replaceChildren(...calibrationEstimate(id, name, await api.studyCalibration(id)));
    } catch (error) {
      shown.replaceChildren(h("p", {}, error.message));
    }
    estimate.disabled = false;
  } }, "Calibrate");
  return h("section", { class: "block" }, h("h2", {}, "Calibrate to these readers"),
    h("p", { class: "words" }, "Moves the lines between the model's grades to where the readers draw them, by first reads that agree and by settled grades. You see first what it brings; this server's model stays as it is."),
    h("div", { class: "row-of-buttons" }, estimate), shown);
}

function calibrationEstimate(id, name, made) {
  const counted = h("p", { class: "words" }, `${made.knees} knees of ${made.patients} patients; ${made.left_out} left out, without an agreed grade or read by another model.`);
  if (made.problem) return [counted, h("p", {}, made.problem)];
  const number = (value, sign) => value === null ? "-" : `${sign && value >= 0 ? "+" : ""}${value.toFixed(3)}`;
  const table = h("table", { class: "calibration" },
    h("thead", {}, h("tr", {}, ["metric", "as delivered", "calibrated", "difference, 95 % interval"].map((one) => h("th", { scope: "col" }, one)))),
    h("tbody", {}, made.metrics.map((one) => h("tr", {}, h("th", { scope: "row" }, one.name), h("td", {}, number(one.before)), h("td", {}, number(one.after)),
      h("td", {}, `${number(one.difference.value, true)} (${number(one.difference.low, true)} to ${number(one.difference.high, true)})`)))));
  const warnings = made.warnings.map((one) => h("p", {}, `Warning: ${one}.`));
  return [counted, table, h("p", {}, made.words), ...warnings, made.calibrated ? bundleForm(id, name) : null].filter(Boolean);
}

function bundleForm(id, name) {
  const field = (key, label, value) => h("label", {}, `${label} `, h("input", { name: key, value, maxlength: key === "name" ? "60" : "200" }));
  const form = h("form", { class: "calibrated", onsubmit: (event) => {
    event.preventDefault();
    const stated = new URLSearchParams([...new FormData(form)].filter(([, value]) => value.trim()));
    location.assign(`${ROOT}/api/v1/studies/${id}/calibrated-bundle.zip?${stated}`);
  } },
  field("name", "Name of your data", name.slice(0, 60)), field("licence", "Licence", ""), field("credit", "Credit", ""), field("limits", "Limits", ""),
  h("button", { type: "submit", class: "primary" }, "Download the calibrated bundle"),
  h("p", { class: "words" }, "Unpack it, and start the server with --model and its folder."));
  return form;
}

function pairCard(pair) {
  const title = h("h3", {}, `${pair.a} and ${pair.b === "model" ? "the model" : pair.b}`);
  if (!pair.knees) return h("article", { class: "pair" }, title, h("p", { class: "words" }, "No knee read by both yet"));
  const { value, low, high, reason } = pair.kappa;
  return h("article", { class: "pair" }, title,
    h("p", { class: "kappa" }, value === null ? "undefined" : value.toFixed(2)),
    h("p", { class: "words" }, `weighted kappa${low === null ? (reason ? `, no interval: ${reason}` : "") : `, 95 % interval ${low.toFixed(2)} to ${high.toFixed(2)}`}; ${pair.knees} knees`),
    h("table", { class: "confusion" }, h("caption", {}, `Rows: ${pair.a}; columns: ${pair.b}`),
      h("thead", {}, h("tr", {}, h("td", {}), [0, 1, 2, 3, 4].map((grade) => h("th", { scope: "col" }, String(grade))))),
      h("tbody", {}, pair.confusion.map((row, grade) => h("tr", {}, h("th", { scope: "row" }, String(grade)),
        row.map((count, other) => h("td", { class: count ? (grade === other ? "same" : "off") : "" }, count ? String(count) : "·")))))));
}

function settleList(id, differing, draw) {
  if (!differing.length) return h("p", { class: "words" }, "No knee that readers grade differently.");
  return h("ul", { class: "rows" }, differing.map((one) => h("li", {}, h("div", { class: "row settle" },
    h("span", { class: "thumb" }, h("img", { src: `${ROOT}/api/v1/studies/${id}/items/${one.item}/picture.png`, alt: "", width: 64, height: 64, loading: "lazy" })),
    h("span", { class: "what" }, h("strong", {}, `${SIDES[one.side]} knee`), h("span", { class: "words" },
      Object.entries(one.grades).map(([reader, grade]) => `${reader}: ${grade < 0 ? "U" : grade}`).join(" · "), ` · model: ${one.model}`)),
    h("span", { class: "filters", role: "group", "aria-label": "Agreed grade" }, [0, 1, 2, 3, 4].map((grade) => h("button", {
      type: "button", class: `filter grade-${grade}`, "aria-pressed": String(one.settled === grade),
      onclick: async () => { await api.settle(id, one.item, one.settled === grade ? null : grade); await draw(); },
    }, String(grade))))))));
}

export function studyReader(id, reader, go) {
  return loading("case", "Reading", async (element, view) => {
    const work = await api.readerWork(id, reader);
    const screen = new ReadingScreen(id, reader, work, element, go);
    view.leave = () => screen.leave();
    view.onKey = (event, down) => down && screen.key(event);
    screen.open();
  });
}

class ReadingScreen {
  constructor(id, reader, work, element, go) {
    Object.assign(this, { id, reader, work, element, go, busy: false });
    this.light = new Light();
    this.panes = new Panes(this.light);
    this.panes.oneWay = false;
    const first = work.items.findIndex((item) => !item.read);
    this.at = first < 0 ? work.items.length - 1 : first;
  }

  leave() {
    this.panes.close();
    new Light();
  }

  get item() {
    return this.work.items[this.at];
  }

  open() {
    this.panel = h("aside", { class: "panel", "aria-label": "Read" });
    this.element.className = "case-view";
    this.place = h("span", { class: "words" });
    this.bar = h("progress", { max: this.work.items.length, value: 0, "aria-label": "Knees read" });
    this.element.replaceChildren(
      h("div", { class: "case-top" }, h("a", { class: "button quiet", href: `${ROOT}/studies/${this.id}`, "data-link": true }, "Leave"),
        h("h1", {}, `${this.work.study} · ${this.work.reader}`), this.place),
      this.bar,
      h("div", { class: "desk" }, h("section", { class: "looking", "aria-label": "Picture" }, this.panes.element), this.panel));
    this.show();
  }

  show() {
    const { item } = this;
    this.light.set({ low: 0, high: 1 });
    this.panes.show([{ picture: item.picture, side: item.side, label: "" }]);
    this.began = performance.now();
    this.draw();
  }

  draw() {
    const { item } = this;
    const { grades } = appState.about;
    const done = this.work.items.filter((one) => one.read).length;
    this.place.textContent = `${this.at + 1} of ${this.work.items.length}`;
    this.bar.value = done;
    const given = item.read ? item.read.final : undefined;
    const choice = (grade, name) => h("button", { type: "button", class: `choice ${grade === null ? "" : `grade-${grade}`}`, "aria-pressed": String(given === grade), onclick: () => this.grade(grade) },
      h("b", {}, shownGrade(grade)), h("span", {}, name));
    this.comment = h("textarea", { id: "comment", rows: 2, maxlength: 2000, onchange: () => item.read && this.keep(item.read.final) });
    this.comment.value = item.read?.comment || "";
    const parts = [
      h("h2", {}, item.read ? "Your grade" : "Which grade?"),
      h("div", { class: "choices", role: "group", "aria-label": "Grade" }, grades.map(({ grade, name }) => choice(grade, name)), choice(null, "ungradable")),
      h("div", {}, h("label", { for: "comment" }, "Comment (C)"), this.comment),
      item.read && this.reveal(),
      h("p", { class: "small model" }, done === this.work.items.length ? "All knees are read. Everything is kept." : "Every grade is kept at once; leave and come back as you like."),
    ];
    this.panel.replaceChildren(...parts.filter(Boolean));
  }

  reveal() {
    const { model, read } = this.item;
    const changed = read.final !== read.first;
    const same = !changed && read.first === model.grade;
    return h("section", { class: "reveal", role: "status" },
      h("p", { class: "over" }, "The model"),
      h("p", { class: `numeral grade-${model.grade}` }, String(model.grade)),
      h("p", {}, `${wordOf(model.grade, appState.about.grades)}, ${model.certainty} certainty. `, same ? "As you read it." : `You first read ${shownGrade(read.first)}${changed ? `, then ${shownGrade(read.final)}` : ""}.`),
      h("button", { type: "button", class: "primary", onclick: () => this.step(1) }, this.at + 1 < this.work.items.length ? "Next knee (Enter)" : "Done (Enter)"));
  }

  grade(grade) {
    this.keep(grade);
  }

  async keep(grade) {
    if (this.busy) return;
    this.busy = true;
    const { item } = this;
    const seconds = item.read ? item.read.seconds : (performance.now() - this.began) / 1000;
    try {
      Object.assign(item, await api.saveRead(this.id, this.reader, item.item, { grade, seconds, comment: this.comment.value }));
      this.draw();
      this.panel.querySelector(".reveal button")?.focus();
    } catch (error) {
      announce(`Not kept: ${error.message}`);
      this.panel.prepend(h("p", { class: "notice bad", role: "alert" }, `Not kept: ${error.message}`));
    }
    this.busy = false;
  }

  step(by) {
    const next = this.at + by;
    if (next < 0) return;
    if (next >= this.work.items.length) {
      this.go(`${ROOT}/studies/${this.id}`);
      return;
    }
    this.at = next;
    this.show();
  }

  key(event) {
    const key = event.key.toLowerCase();
    if (/^[0-4]$/.test(key)) this.grade(Number(key));
    else if (key === "u") this.grade(null);
    else if (key === "enter" && this.item.read) this.step(1);
    else if (key === "backspace" || key === "k") this.step(-1);
    else if (key === "j" && this.item.read) this.step(1);
    else if (key === "c") this.comment.focus();
    else if (key === "i") this.light.invert();
    else if (key === "h") this.panes.mirror();
    else if (key === "f") this.panes.fit();
    else if (key === "w") this.light.set({ low: 0, high: 1 });
    else if (key === "escape") this.go(`${ROOT}/studies/${this.id}`);
    else return false;
    return true;
  }
}
