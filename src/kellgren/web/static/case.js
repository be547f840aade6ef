// One case: its knees side by side, and what was read on each.

import * as api from "./api.js";
import { ReferenceKnees } from "./beside.js";
import { SIDES, h, icon, reasonOf, announce } from "./dom.js";
import { jointSpaceSection, spaceWords } from "./jointspace.js";
import { confirmSheet } from "./keys.js";
import { nameOf } from "./names.js";
import { ROOT } from "./root.js";
import { isOpen, newestFirst, remove, appState } from "./state.js";
import { certaintySection, elsewhere, verdict } from "./verdict.js";
import { Light, Panes, WINDOWS } from "./viewer.js";
import { filtered } from "./worklist.js";

const GATES = { header: "Header", knee: "Knee found", side: "Side", view: "View", inversion: "Grey values", exposure: "Exposure", picture: "Frontal knee", implant: "No implant", growth_plates: "Growth plates closed", colour: "Grey picture", joints: "Other joints", damage: "Whole data" };
const VERDICTS = { passed: "passed", warning: "look again", refused: "refused", unknown: "cannot be told" };

export function caseView(id, go) {
  const element = h("div", { class: "case-view" }, h("p", { class: "notice", role: "status" }, "Loading"));
  const view = new CaseScreen(id, element, go);
  view.load();
  return { name: "case", title: "Case", element, leave: () => view.leave(), onKey: (event, down) => view.key(event, down) };
}

class CaseScreen {
  constructor(id, element, go) {
    Object.assign(this, { id, element, go, knees: [], chosen: 0, compared: null, gone: false, shown: 0.6, mapOn: false, marginsOn: false, keeping: Promise.resolve() });
    this.light = new Light((light) => this.showWindow(light));
    this.panes = new Panes(this.light);
    this.beside = new ReferenceKnees((knee) => this.compare(knee));
  }

  leave() {
    this.gone = true;
    clearTimeout(this.timer);
    this.panes.close();
    new Light();
  }

  async load() {
    try {
      const entry = await api.getCase(this.id);
      if (this.gone) return;
      if (isOpen(entry)) {
        this.element.replaceChildren(this.top(entry), h("section", { class: "centre" }, h("p", { class: "reading", role: "status" }, entry.state === "working" ? "Being read" : "Waits for a grader")));
        this.timer = setTimeout(() => this.load(), 350);
        return;
      }
      await this.gather(entry);
      if (!this.gone) this.draw(entry);
    } catch (error) {
      if (this.gone) return;
      const lost = error.status === 404 || error.status === 422;
      this.element.replaceChildren(h("section", { class: "centre" }, h("div", { class: "card" },
        h("h1", {}, lost ? "No such case" : "This case did not load"),
        h("p", {}, lost ? "It was deleted, or the address was cut short." : error.message),
        h("a", { class: "button", href: `${ROOT}/`, "data-link": true }, "To the work-list"))));
    }
  }

  // This case's knees, and the other knee of the patient where the store knows one.
  async gather(entry) {
    this.entry = entry;
    const placed = (one) => one.knees.map((knee, at) => ({ ...knee, entry: one, place: at + 1 }));
    this.knees = placed(entry);
    const sides = new Set(this.knees.map((knee) => knee.reading.side));
    if (this.knees.length === 1 && !sides.has("")) {
      for (const other of [...entry.companions].reverse()) {
        const companion = await api.getCase(other).catch(() => null);
        const knee = companion && placed(companion).find((one) => one.reading.side && !sides.has(one.reading.side));
        if (knee) {
          this.knees.push(knee);
          break;
        }
      }
    }
    // As on a film: the patient's right knee on the reader's left.
    this.knees.sort((a, b) => b.reading.side.localeCompare(a.reading.side));
    this.knees.push(...entry.refused.map((refused) => ({ refused, picture: refused.picture, entry })));
    this.chosen = Math.max(0, this.knees.findIndex((knee) => knee.entry.id === entry.id));
  }

  draw(entry) {
    if (!this.knees.length) {
      this.element.replaceChildren(this.top(entry), this.refusal(entry));
      return;
    }
    this.panel = h("aside", { class: "panel", "aria-label": "Reading" });
    this.element.replaceChildren(this.top(entry), h("div", { class: "desk" },
      h("section", { class: "looking", "aria-label": "Pictures" }, this.tools(), this.panes.element, this.beside.element),
      this.panel));
    this.showPanes();
    this.drawPanel();
    this.showBeside();
    document.title = `${nameOf(entry)} · kellgren`;
  }

  showPanes() {
    const shown = this.knees.map((knee) => ({
      picture: knee.picture, map: knee.map, side: sideOf(knee),
      space: knee.reading?.joint_space, moved: (margin, done) => this.moved(knee, margin, done),
      label: `${knee.refused ? "Not graded" : paneWords(knee.reading)}${knee.entry.id === this.id ? "" : ", another film"}`,
    }));
    if (this.compared) {
      const { picture, side, grade, file } = this.compared;
      const close = () => this.compare(null);
      shown.splice(0, shown.length, shown[this.chosen], { picture, side, kind: "reference", label: `Grade ${grade} · ${file}`, close });
    }
    this.panes.show(shown);
    this.panes.all.forEach((pane, place) => {
      if (!this.compared) pane.element.addEventListener("pointerdown", () => this.choose(place));
    });
    this.mark();
  }

  mark() {
    this.panes.all.forEach((pane, place) => pane.element.classList.toggle("chosen", !this.compared && this.knees.length > 1 && place === this.chosen));
  }

  choose(place) {
    if (place === this.chosen) return;
    this.chosen = place;
    this.mark();
    this.drawPanel();
    this.showBeside();
  }

  // Graded knees lie below a graded one: what is refused has no grade to compare.
  showBeside() {
    const knee = this.knees[this.chosen];
    this.beside.element.hidden = Boolean(knee.refused);
    if (!knee.refused) this.beside.show(knee);
  }

  compare(knee) {
    this.compared = this.compared === knee ? null : knee;
    this.showPanes();
    this.beside.mark(this.compared);
    announce(this.compared ? `A knee of grade ${knee.grade} is beside this one` : "The knee beside is closed");
  }

  top(entry) {
    return h("div", { class: "case-top" },
      h("a", { class: "button quiet", href: `${ROOT}/`, "data-link": true }, icon("back"), "Work-list"),
      h("h1", {}, nameOf(entry)),
      h("div", { class: "steps" },
        h("button", { type: "button", class: "quiet", title: "Case before (K)", "aria-label": "Case before", onclick: () => this.step(-1) }, icon("back")),
        h("button", { type: "button", class: "quiet", title: "Next case (J)", "aria-label": "Next case", onclick: () => this.step(1) }, icon("next"))));
  }

  step(by) {
    const ids = (appState.filter === "all" ? newestFirst() : filtered()).map((one) => one.id);
    const next = ids[ids.indexOf(this.id) + by];
    if (next) this.go(`${ROOT}/cases/${next}`);
    else announce(by > 0 ? "This is the last case" : "This is the first case");
  }

  refusal(entry) {
    return h("section", { class: "centre" }, h("div", { class: "card" },
      h("p", { class: "over bad" }, entry.state === "failed" ? "Could not be read" : "Not graded"),
      h("h2", {}, reasonOf(entry)),
      h("div", { class: "row-of-buttons" }, this.exports(entry), this.deleteButton(entry))));
  }

  tools() {
    const tool = (name, label, key, action, pressed) => h("button", {
      type: "button", class: "tool", title: `${label} (${key})`, "aria-label": label, "aria-keyshortcuts": key,
      "aria-pressed": pressed === undefined ? undefined : String(pressed), onclick: action,
    }, icon(name));
    this.windowWords = h("output", { class: "window-words", "aria-label": "Window and level" }, this.light.words);
    this.windowChoice = h("select", { "aria-label": "Window", onchange: (event) => { this.light.set(WINDOWS[event.target.value]); event.target.blur(); } },
      Object.keys(WINDOWS).map((name) => h("option", { value: name }, name)), h("option", { value: "", hidden: true }, "By hand"));
    this.buttons = {
      invert: tool("invert", "Invert", "I", () => this.act("i"), false),
      mirror: tool("mirror", "Mirror", "H", () => this.act("h"), false),
      orient: tool("same", "One orientation", "O", () => this.act("o"), true),
      map: h("button", { type: "button", class: "tool wide", title: "Map (M), hold P to peek", "aria-pressed": "false", "aria-keyshortcuts": "M", onclick: () => this.act("m") }, icon("map"), "Map"),
    };
    if (this.knees.some((knee) => knee.reading?.joint_space)) {
      this.buttons.space = h("button", { type: "button", class: "tool wide", title: "Joint space (G)", "aria-pressed": "false", "aria-keyshortcuts": "G", onclick: () => this.act("g") }, icon("space"), "Joint space");
    }
    this.slider = h("input", {
      type: "range", min: 0, max: 100, value: this.shown * 100, "aria-label": "Opacity of the map", disabled: true,
      oninput: (event) => { this.shown = event.target.value / 100; this.panes.map(this.shown); },
    });
    return h("div", { class: "tools", role: "toolbar", "aria-label": "View" },
      h("div", {}, tool("fit", "Fit", "F", () => this.act("f")), tool("actual", "One to one", "Z", () => this.act("z"))),
      h("div", {}, this.buttons.invert, this.buttons.mirror, tool("turnback", "Turn left", "L", () => this.act("l")), tool("turn", "Turn right", "R", () => this.act("r")), this.buttons.orient),
      h("div", {}, this.windowChoice, tool("reset", "Window back to normal", "W", () => this.act("w")), this.windowWords),
      h("div", { class: "map-tools" }, this.buttons.space, this.buttons.map, this.slider));
  }

  showWindow(light) {
    if (!this.windowWords) return;
    this.windowWords.textContent = light.words;
    const preset = Object.entries(WINDOWS).find(([, range]) => range.low === light.range.low && range.high === light.range.high);
    this.windowChoice.value = preset ? preset[0] : "";
  }

  drawPanel() {
    const { reading, refused, entry } = this.knees[this.chosen];
    const { grades } = appState.about;
    const tabs = this.knees.length > 1 && h("div", { class: "tabs", role: "group", "aria-label": "Knee" }, this.knees.map((knee, place) =>
      h("button", { type: "button", "aria-pressed": String(place === this.chosen), onclick: () => { this.choose(place); this.panel.querySelector(".tabs [aria-pressed=true]").focus(); } },
        knee.refused ? "Not graded" : `${SIDES[knee.reading.side]} knee`)));
    if (refused) {
      this.panel.replaceChildren(...[
        tabs,
        h("section", { "aria-live": "polite" }, h("p", { class: "over bad" }, "Not graded"), h("h2", {}, sentence(refused.note.replace(/^is refused: /, "")))),
        checklist(refused.checks),
        h("section", { class: "row-of-buttons" }, this.exports(entry), this.deleteButton(entry)),
      ].filter(Boolean));
      return;
    }
    const parts = [
      tabs,
      verdict(reading, grades, this.knees.length > 1),
      certaintySection(reading),
      table(reading, grades),
      reading.joint_space && h("div", { class: "space-place" }, this.spaceSection(this.knees[this.chosen])),
      reading.warnings.length ? h("section", {}, h("h3", {}, "Look again"), h("ul", { class: "warnings" }, reading.warnings.map((one) => h("li", {}, icon("warning"), h("span", {}, sentence(one)))))) : null,
      checklist(reading.checks),
      sideEvidence(reading.side_evidence),
      h("section", { class: "row-of-buttons" }, this.exports(entry, this.kneeOf(entry)), this.deleteButton(entry)),
      h("p", { class: "small model" }, `Read by ${reading.model.name} ${reading.model.checksum.slice(0, 8)} with ${reading.model.engine} ${reading.model.precision}. ${appState.about.scale}.`),
      reading.model.local_calibration && h("p", { class: "small model" }, `Calibrated to local readers: ${reading.model.local_calibration}.`),
      ...elsewhere(appState.about.model.elsewhere),
    ];
    this.panel.replaceChildren(...parts.filter(Boolean));
  }

  spaceSection(knee) {
    return jointSpaceSection(knee.reading.joint_space, { restore: () => this.keepSpace(knee, () => api.restoreJointSpace(knee.entry.id, knee.place)) });
  }

  // A margin was moved: the widths follow, and what is let go of is kept by the server.
  moved(knee, { name, bone }, done) {
    const pane = this.paneOf(knee);
    this.setSpace(knee, pane.margins.space);
    if (!done) return;
    const { points, told } = pane.margins.compartment(name)[bone];
    this.keepSpace(knee, () => api.correctJointSpace(knee.entry.id, knee.place, { margins: [{ compartment: name, bone, points, told }] }));
  }

  // One request after the other; an answer is shown unless a later one is under way.
  keepSpace(knee, request) {
    const turn = (this.turn = (this.turn || 0) + 1);
    this.keeping = this.keeping.then(async () => {
      try {
        const space = await request();
        if (this.gone || turn !== this.turn) return;
        this.setSpace(knee, space);
        this.paneOf(knee)?.margins.update(space);
        announce(`Joint-space width. ${spaceWords(space)}${space.corrected ? ", corrected" : ""}`);
      } catch (error) {
        announce(`Not kept: ${error.message}`);
        if (!this.gone) this.panel.prepend(h("p", { class: "notice bad", role: "alert" }, `Not kept: ${error.message}`));
      }
    });
  }

  setSpace(knee, space) {
    knee.reading = { ...knee.reading, joint_space: space };
    if (this.knees[this.chosen] === knee) this.panel.querySelector(".space-place")?.replaceChildren(this.spaceSection(knee));
  }

  paneOf(knee) {
    return this.panes.all.find((pane) => pane.knee.picture === knee.picture);
  }

  kneeOf(entry) {
    const { overlay } = this.knees[this.chosen];
    return entry.knees.find((knee) => knee.overlay === overlay);
  }

  exports(entry, knee) {
    const link = (name, path, suffix) => h("a", { class: "button", href: path, download: `${entry.id}${suffix}` }, name);
    return [
      knee && link("Picture", knee.overlay, ".png"),
      link("JSON", `${entry.url}/readings.json`, ".json"),
      entry.report && link("DICOM SR", entry.report, ".dcm"),
      link("CSV", `${entry.url}/readings.csv`, ".csv"),
    ].filter(Boolean);
  }

  deleteButton(entry) {
    return h("button", { type: "button", class: "quiet bin", onclick: async () => {
      if (!(await confirmSheet("Delete this case?", "The film, its pictures and its reading are removed from the server. This cannot be undone.", "Delete"))) return;
      await remove(entry.id);
      announce("Case deleted");
      this.go(`${ROOT}/`);
    } }, icon("bin"), "Delete");
  }

  act(key) {
    const press = (name, on) => this.buttons[name].setAttribute("aria-pressed", String(on));
    const acts = {
      f: () => this.panes.fit(),
      z: () => this.panes.actual(),
      i: () => { this.light.invert(); press("invert", this.light.inverted); },
      h: () => { this.panes.mirror(); press("mirror", this.panes.mirrored); },
      r: () => this.panes.rotate(90),
      l: () => this.panes.rotate(-90),
      o: () => { this.panes.orient(); press("orient", this.panes.oneWay); },
      w: () => this.light.set(WINDOWS["Full range"]),
      g: () => { this.marginsOn = Boolean(this.buttons.space) && !this.marginsOn; this.buttons.space?.setAttribute("aria-pressed", String(this.marginsOn)); this.panes.margins(this.marginsOn); },
      m: () => { this.mapOn = !this.mapOn; press("map", this.mapOn); this.slider.disabled = !this.mapOn; this.panes.map(this.mapOn ? this.shown : 0); },
    };
    acts[key]?.();
    return key in acts;
  }

  key(event, down) {
    const key = event.key.toLowerCase();
    if (key === "p" && this.buttons) {
      if (!event.repeat) this.panes.map(down || this.mapOn ? this.shown : 0);
      return true;
    }
    if (!down) return false;
    if (key === "escape") this.go(`${ROOT}/`);
    else if (key === "j") this.step(1);
    else if (key === "k") this.step(-1);
    else if (key === "s" && this.panel && !this.knees[this.chosen].refused) this.beside.turn();
    else return Boolean(this.buttons) && this.act(key);
    return true;
  }
}

function sideOf(knee) {
  return knee.refused ? knee.refused.side : knee.reading.side;
}

function table(reading, grades) {
  return h("table", { class: "probabilities" },
    h("caption", { class: "unseen" }, "Probability of each grade"),
    h("tbody", {}, reading.probabilities.map((p, grade) => h("tr", { class: grade === reading.grade ? "best" : "" },
      h("th", { scope: "row" }, h("b", {}, String(grade)), ` ${grades[grade].name}`),
      h("td", { class: "bar" }, h("i", { class: `grade-${grade}`, vars: { "--p": p } })),
      h("td", { class: "number" }, percent(p))))));
}

function checklist(checks) {
  if (!checks.length) return null;
  return h("section", {}, h("h3", {}, "Checks"), h("ul", { class: "checks" }, checks.map((check) =>
    h("li", { class: check.verdict }, icon(check.verdict), h("span", {}, h("b", {}, GATES[check.name] || check.name), h("span", { class: "unseen" }, ` ${VERDICTS[check.verdict]}: `), h("span", { class: "evidence" }, check.evidence))))));
}

function sideEvidence(statements) {
  if (!statements?.length) return null; // readings of version 0.1 have none
  return h("section", {}, h("h3", {}, "What tells the side"), h("table", { class: "side-evidence" },
    h("tbody", {}, statements.map((one) => h("tr", {},
      h("th", { scope: "row" }, sentence(one.source), h("span", { class: "evidence" }, one.value)),
      h("td", {}, one.side ? SIDES[one.side] : "No side"))))));
}

function paneWords({ named, grade }) {
  return named ? `Grade ${grade}` : `Most probable: ${grade}`;
}

function percent(p) {
  if (p > 0 && p < 0.005) return "< 1 %";
  return `${Math.round(100 * p)} %`;
}

function sentence(text) {
  return text ? text[0].toUpperCase() + text.slice(1) : "";
}
