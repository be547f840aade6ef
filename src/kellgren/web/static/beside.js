// Graded knees below the films: of the atlas, or those most like the case to the model's eyes.

import * as api from "./api.js";
import { CREDIT, neighbours } from "./atlas.js";
import { h, announce } from "./dom.js";

export class ReferenceKnees {
  // choose: told which graded knee was pressed.
  constructor(choose) {
    Object.assign(this, { choose, source: "atlas", knee: null, compared: null, known: new Map() });
    this.element = h("section", { class: "atlas", "aria-label": "Graded knees to compare with" });
  }

  show(knee) {
    this.knee = knee;
    this.draw();
  }

  mark(compared) {
    this.compared = compared;
    for (const button of this.list.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.knee === compared));
  }

  turn(source = this.source === "atlas" ? "alike" : "atlas", focused = false) {
    this.source = source;
    this.draw();
    if (focused) this.element.querySelector("[aria-pressed=true]").focus();
  }

  draw() {
    const choice = (name, text) => h("button", {
      type: "button", class: "source", "aria-pressed": String(this.source === name), "aria-keyshortcuts": "S", title: `${text} (S)`, onclick: () => this.turn(name, true),
    }, text);
    this.list = h("ul", { class: "strip" });
    this.words = h("p", { class: "small" });
    this.element.replaceChildren(
      h("div", { class: "sources", role: "group", "aria-label": "Compare with" }, choice("atlas", "Atlas"), choice("alike", "Most similar")),
      this.list, this.words);
    if (this.source === "alike") this.fill(this.knee, this.list);
    else {
      const { grade } = this.knee.reading;
      this.list.append(...neighbours(grade).map((one) => this.item(one, one.grade === grade, "Atlas")));
      this.words.textContent = CREDIT;
    }
  }

  item(knee, bright, kind) {
    const button = h("button", { type: "button", "aria-pressed": String(knee === this.compared), onclick: () => this.choose(knee) },
      h("img", { class: knee.side === "L" ? "flip" : "", src: knee.picture, alt: "", loading: "lazy", width: 96, height: 96 }),
      h("span", { class: `chip grade-${knee.grade}` }, h("span", { class: "unseen" }, `${kind} knee ${knee.file}, grade `), String(knee.grade)));
    button.knee = knee;
    return h("li", { class: bright ? "same" : "" }, button);
  }

  async fill({ similar }, list) {
    this.words.textContent = "Loading";
    try {
      if (!this.known.has(similar)) this.known.set(similar, await api.similar(similar));
    } catch (error) {
      this.words.textContent = error.message;
      return;
    }
    if (list !== this.list) return;
    const { knees, note, credit, selection } = this.known.get(similar);
    list.append(...knees.map((knee) => this.item(knee, true, "Similar")));
    this.words.textContent = knees.length ? `Nearest first, among ${selection}. ${credit}` : note || "No knee like this one is known";
    announce(knees.length ? `The most similar knees have the grades ${knees.map((knee) => knee.grade).join(", ")}` : this.words.textContent);
  }
}
