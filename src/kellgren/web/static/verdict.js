// What a reading says: the grade, or that none is named; its set of grades, and what both are worth.

import { SIDES, h, icon, wordOf } from "./dom.js";

export const NOT_SURE = "Not sure enough to name a grade";

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;

export function gradeWords(reading, grades) {
  const word = wordOf(reading.grade, grades).toLowerCase();
  return reading.named ? word : `not sure, most probable ${word}`;
}

export function certaintyWords(reading) {
  const worth = reading.right_share === null ? "" : `, right in ${percent(reading.right_share)} of held-out knees`;
  return `${reading.certainty} certainty${worth}`;
}

function setWords({ lowest, highest, level, coverage }) {
  const alone = lowest === highest;
  const which = alone ? `Grade ${lowest} alone` : `Grades ${lowest} to ${highest}`;
  if (coverage === null) return `${which} ${alone ? "holds" : "hold"} ${percent(level)} of the probability.`;
  return `${which}: the ${percent(level)} set, which holds the label of ${percent(coverage, 1)} of held-out knees.`;
}

export function verdict(reading, grades, several) {
  const side = reading.side ? `${SIDES[reading.side]} knee` : "Knee, side unknown";
  const named = [
    h("p", { class: `numeral grade-${reading.grade}` }, h("span", { class: "unseen" }, "Kellgren-Lawrence grade "), String(reading.grade)),
    h("h2", {}, wordOf(reading.grade, grades)),
    h("p", {}, sentence(grades[reading.grade].finding)),
  ];
  const open = [
    h("p", { class: "numeral" }, "?"),
    h("h2", {}, NOT_SURE),
    h("p", {}, `Most probable: ${reading.grade}, ${wordOf(reading.grade, grades).toLowerCase()}.`),
  ];
  return h("section", { class: "verdict", "aria-live": "polite" },
    h("p", { class: "over" }, several ? "Kellgren-Lawrence" : side), reading.named ? named : open);
}

export function certaintySection(reading) {
  const doubts = reading.doubts.map((doubt) => h("li", {}, icon("warning"), h("span", {}, sentence(doubt))));
  return h("section", { class: `certainty ${reading.named ? reading.certainty : "low"}` },
    h("h3", {}, sentence(certaintyWords(reading))),
    h("p", {}, setWords(reading.grade_set)),
    doubts.length ? h("ul", { class: "warnings doubts" }, doubts) : null);
}

/** What the model's scores on knees of other hospitals are, and what they cannot show. */
export function elsewhere(others) {
  return others.map((one) => {
    const { value, low, high } = one.delivered.accuracy;
    return h("p", { class: "small model" }, `Elsewhere, on ${one.knees} knees (${one.name}): the readers' grade for ${percent(value)} (95 % interval ${percent(low)} to ${percent(high)}). Limits: ${one.limits}.`);
  });
}
