// The joint space of a knee: margins over its picture, points that can be moved, widths in words.

import { h, icon } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const PLACES = { medial: "Medial", lateral: "Lateral", left: "Left of the picture", right: "Right of the picture" };
const BONES = { femur: "femur", tibia: "tibia" };
// How far the points beside a moved one follow it, so that the margin stays smooth.
const FOLLOW = [1, 0.75, 0.35, 0.1];
const STEP = 0.5; // pixels of the radiograph that an arrow key moves a point
const FAR = 10; // times that with Shift
const REST_MS = 300;
// Of the condylar width from its nearer end: where the minimum is looked for, as in joint_space/widths.py.
const BEARING = [0.13, 0.2];
const STEPS = 60;

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// Places in the knee's picture, in pixels of it, of points of the radiograph; and the way back.
class Frame {
  constructor([origin, right, , bottom], size) {
    this.origin = origin;
    this.size = size;
    this.across = [right[0] - origin[0], right[1] - origin[1]];
    this.down = [bottom[0] - origin[0], bottom[1] - origin[1]];
    this.area = this.across[0] * this.down[1] - this.across[1] * this.down[0];
  }

  place([x, y]) {
    const [px, py] = [x - this.origin[0], y - this.origin[1]];
    const right = (px * this.down[1] - py * this.down[0]) / this.area;
    const below = (py * this.across[0] - px * this.across[1]) / this.area;
    return [right * this.size.x, below * this.size.y];
  }

  point([x, y]) {
    const [right, below] = [x / this.size.x, y / this.size.y];
    return [0, 1].map((axis) => this.origin[axis] + right * this.across[axis] + below * this.down[axis]);
  }
}

// The margins over one pane. `moved(margin, done)` is told of every change: of the last one when done.
export class Margins {
  constructor(space, moved) {
    this.space = space;
    this.moved = moved;
    this.chosen = new Map(); // of each margin, the point that keys move
    this.element = svg("svg", { class: "margins", preserveAspectRatio: "none", role: "group", "aria-label": "Margins of the joint space" });
    this.element.setAttribute("hidden", "");
  }

  open(size) {
    this.frame = new Frame(this.space.frame, size);
    this.element.setAttribute("viewBox", `0 0 ${size.x} ${size.y}`);
    this.draw();
  }

  show(on) {
    this.element.toggleAttribute("hidden", !on);
  }

  // Redrawn in place, so that the margin in hand keeps the focus.
  update(space) {
    this.space = space;
    if (this.frame) this.draw();
  }

  draw() {
    if (!this.groups) {
      this.corners = [[0, 0], [1, 0], [0, 1]].map(([x, y]) => svg("rect", { class: "corner", x: x * this.frame.size.x, y: y * this.frame.size.y, width: 1e-3, height: 1e-3 }));
      this.groups = this.space.compartments.flatMap((compartment) => Object.keys(BONES).map((bone) => this.group(compartment.name, bone)));
      this.narrowest = this.space.compartments.map(() => svg("path", { class: "narrowest" }));
      this.element.replaceChildren(...this.corners, ...this.narrowest, ...this.groups);
    }
    this.space.compartments.forEach((compartment, at) => {
      const ends = compartment.narrowest;
      this.narrowest[at].setAttribute("d", ends ? line(ends.map((end) => this.frame.place(end))) : "");
      Object.keys(BONES).forEach((bone, below) => this.drawMargin(this.groups[2 * at + below], compartment, bone));
    });
  }

  group(name, bone) {
    const group = svg("g", { class: `margin ${bone}`, tabindex: "0", role: "application", "aria-roledescription": "margin", "data-margin": `${name} ${bone}` });
    group.addEventListener("keydown", (event) => this.key(event, name, bone));
    group.addEventListener("blur", () => this.flush());
    group.addEventListener("pointerdown", (event) => this.grasp(event, name, bone));
    return group;
  }

  drawMargin(group, compartment, bone) {
    const { points, told, corrected } = compartment[bone];
    const chosen = Math.min(this.chosen.get(group.dataset.margin) ?? Math.floor(points.length / 2), points.length - 1);
    const places = points.map((point) => this.frame.place(point));
    const shown = places.map((place, at) => (at && told[at] && told[at - 1] ? `L${place}` : `M${place}`)).join("");
    const dots = places.map((place, at) => svg("path", { class: `${told[at] ? "" : "untold"}${at === chosen ? " chosen" : ""}`, d: `M${place}h1e-3`, "data-point": at }));
    group.replaceChildren(svg("path", { class: "line", d: shown }), ...dots);
    group.classList.toggle("corrected", corrected);
    group.setAttribute("aria-label", `${PLACES[compartment.name]} margin of the ${bone}, point ${chosen + 1} of ${points.length}${told[chosen] ? "" : ", not told by the picture"}. Arrow keys move it, comma and full stop choose another.`);
  }

  key(event, name, bone) {
    const key = `${name} ${bone}`;
    const { points } = this.compartment(name)[bone];
    const at = this.chosen.get(key) ?? Math.floor(points.length / 2);
    const choose = { ",": at - 1, ".": at + 1, Home: 0, End: points.length - 1 }[event.key];
    const across = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (choose === undefined && !across) return;
    event.preventDefault();
    event.stopPropagation();
    if (across) {
      const [x, y] = this.direction(across).map((part) => part * STEP * (event.shiftKey ? FAR : 1));
      this.move(name, bone, at, [x, y], event.altKey);
      this.moved({ name, bone }, false);
      this.keepSoon({ name, bone });
    } else this.chosen.set(key, Math.max(0, Math.min(points.length - 1, choose)));
    this.draw();
  }

  // A key may be held: what it leaves is kept once it rests, or when the margin or the page is left.
  keepSoon(margin) {
    if (this.resting && this.resting.name + this.resting.bone !== margin.name + margin.bone) this.flush();
    clearTimeout(this.timer);
    this.resting = margin;
    this.timer = setTimeout(() => this.flush(), REST_MS);
  }

  flush() {
    clearTimeout(this.timer);
    const margin = this.resting;
    this.resting = null;
    if (margin) this.moved(margin, true);
  }

  grasp(event, name, bone) {
    const at = Number(event.target.dataset.point);
    if (event.button || Number.isNaN(at)) return;
    event.preventDefault();
    event.stopPropagation();
    const group = event.currentTarget;
    group.focus({ preventScroll: true });
    this.chosen.set(`${name} ${bone}`, at);
    let last = this.pointAt(event);
    let changed = false;
    this.draw();
    const moved = (now) => {
      const next = this.pointAt(now);
      this.move(name, bone, at, [next[0] - last[0], next[1] - last[1]], now.altKey);
      last = next;
      changed = true;
      this.draw();
      this.moved({ name, bone }, false);
    };
    const done = () => {
      removeEventListener("pointermove", moved);
      removeEventListener("pointerup", done);
      removeEventListener("pointercancel", done);
      if (changed) this.moved({ name, bone }, true);
    };
    addEventListener("pointermove", moved);
    addEventListener("pointerup", done);
    addEventListener("pointercancel", done);
  }

  compartment(name) {
    return this.space.compartments.find((one) => one.name === name);
  }

  // Moves one point, and with it those beside it unless it goes alone, by pixels of the radiograph.
  move(name, bone, at, [x, y], alone) {
    const before = this.compartment(name)[bone];
    const follow = (other) => FOLLOW[alone && other !== at ? FOLLOW.length : Math.abs(other - at)] || 0;
    const points = before.points.map((point, other) => [point[0] + x * follow(other), point[1] + y * follow(other)]);
    const told = before.told.map((one, other) => one || other === at);
    const changed = { ...this.compartment(name), [bone]: { points, told, corrected: true } };
    this.space = estimated({ ...this.space, compartments: this.space.compartments.map((one) => (one.name === name ? changed : one)) }, name);
  }

  // The knee may be shown mirrored and turned: its corners tell how.
  axes() {
    const [origin, right, bottom] = this.corners.map((corner) => {
      const box = corner.getBoundingClientRect();
      return [box.x + box.width / 2, box.y + box.height / 2];
    });
    return { origin, across: [right[0] - origin[0], right[1] - origin[1]], down: [bottom[0] - origin[0], bottom[1] - origin[1]] };
  }

  pointAt({ clientX, clientY }) {
    const { origin, across, down } = this.axes();
    const shown = new Frame([origin, [origin[0] + across[0], origin[1] + across[1]], null, [origin[0] + down[0], origin[1] + down[1]]], this.frame.size);
    return this.frame.point(shown.place([clientX, clientY]));
  }

  // A direction of the screen as one of the radiograph, of length 1.
  direction([x, y]) {
    const [from, to] = [[0, 0], [x, y]].map(([clientX, clientY]) => this.pointAt({ clientX, clientY }));
    const way = [to[0] - from[0], to[1] - from[1]];
    const length = Math.hypot(...way);
    return way.map((part) => part / length);
  }
}

const line = (places) => `M${places.join("L")}`;

// While a point is in hand: the minimum as the server measures it, whose number follows.
function estimated(space, name) {
  return { ...space, corrected: true, compartments: space.compartments.map((one) => {
    if (one.name !== name || !one.minimum) return one;
    const found = narrowest(one, space.condyles, space.condylar_width);
    if (!found) return one;
    const mm = space.mm_per_pixel === null ? null : found.ratio * space.condylar_width * space.mm_per_pixel;
    return { ...one, narrowest: found.ends, minimum: { ratio: found.ratio, ratio_uncertainty: null, mm, mm_uncertainty: null } };
  }) };
}

// The least width across the condylar width, among the weight-bearing places of a compartment.
function narrowest({ femur, tibia }, [left, right], width) {
  const [ax, ay] = [(right[0] - left[0]) / width, (right[1] - left[1]) / width];
  const inFrame = ([x, y]) => [((x - left[0]) * ax + (y - left[1]) * ay) / width, ((y - left[1]) * ax - (x - left[0]) * ay) / width];
  const point = ([along, down]) => [left[0] + width * (along * ax - down * ay), left[1] + width * (along * ay + down * ax)];
  const margins = [femur, tibia].map(({ points, told }) => ({ places: points.map(inFrame), told }));
  const isRight = margins[0].places[0][0] > 0.5;
  let best = null;
  for (let step = 0; step <= STEPS; step += 1) {
    const fromEnd = BEARING[0] + (step / STEPS) * (BEARING[1] - BEARING[0]);
    const along = isRight ? 1 - fromEnd : fromEnd;
    const [upper, lower] = margins.map((margin) => below(margin, along));
    if (upper === null || lower === null || (best && lower - upper >= best.gap)) continue;
    best = { gap: lower - upper, ratio: Math.max(0, lower - upper), ends: [[along, upper], [along, lower]].map(point) };
  }
  return best;
}

// How far below the condyles' line a margin lies at a place along it; null: not told there.
function below({ places, told }, along) {
  for (let at = 1; at < places.length; at += 1) {
    const [[x, y], [nextX, nextY]] = [places[at - 1], places[at]];
    if (told[at - 1] && told[at] && x <= along && along <= nextX) return y + ((along - x) / (nextX - x || 1)) * (nextY - y);
  }
  return null;
}

const spread = (value, digits) => (value === null ? "" : ` ±${value.toFixed(digits)}`);

export function widthWords(measure) {
  if (measure.mm !== null) return `${measure.mm.toFixed(1)}${spread(measure.mm_uncertainty, 1)} mm`;
  return `${measure.ratio.toFixed(3)}${spread(measure.ratio_uncertainty, 3)}`;
}

export function spaceWords(space) {
  return space.compartments.map((one) => `${PLACES[one.name]}: ${one.minimum ? widthWords(one.minimum) : "not measured"}`).join(", ");
}

// Widths of both compartments, why there are none, and the way back from a correction.
export function jointSpaceSection(space, { restore }) {
  const inMm = space.mm_per_pixel !== null;
  const cell = (measure) => h("td", { class: "number" }, measure ? widthWords(measure) : "–");
  const { convergence_angle: angle, convergence_uncertainty: unsure } = space;
  const notes = space.compartments.filter((one) => one.note).map((one) => `${PLACES[one.name]}: ${one.note}`);
  return h("section", { class: "joint-space" },
    h("h3", {}, "Joint-space width", space.corrected && h("span", { class: "tag" }, "corrected by hand")),
    h("table", { class: "widths" },
      h("thead", {}, h("tr", {}, h("td", {}), h("th", { scope: "col" }, "narrowest"), h("th", { scope: "col" }, "mean"))),
      h("tbody", {}, space.compartments.map((one) => h("tr", {}, h("th", { scope: "row" }, PLACES[one.name]), cell(one.minimum), cell(one.mean))))),
    h("p", { class: "small" }, inMm ? "In millimetres, ± one standard deviation. Research use." : "Parts of the condylar width, ± one standard deviation. Research use."),
    angle !== null && h("p", { class: "small" }, `Joint-line convergence angle ${angle.toFixed(1)}°${spread(unsure, 1)}.`),
    h("p", { class: "small" }, `${space.spacing[0].toUpperCase()}${space.spacing.slice(1)}.`),
    notes.length ? h("ul", { class: "warnings" }, notes.map((note) => h("li", {}, icon("warning"), h("span", {}, note)))) : null,
    space.corrected && h("button", { type: "button", onclick: restore }, "Back to what was found"));
}
