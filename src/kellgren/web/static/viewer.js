// Panes that show knees: zoom and pan linked, one window for all, the map above the bone.

/* global OpenSeadragon */

import { SIDES, h } from "./dom.js";
import { Margins } from "./jointspace.js";

const NORMAL = { low: 0, high: 1 };
export const WINDOWS = { "Full range": NORMAL, Bone: { low: 0.25, high: 0.95 }, "Joint space": { low: 0.1, high: 0.65 }, "Soft tissue": { low: 0, high: 0.45 } };

// OpenSeadragon would add a style sheet of its own, which the content policy forbids, unless it finds
// one with this mark. This one is of no namespace that means anything; the rule is in room.css.
const mark = document.createElementNS("urn:kellgren", "style");
mark.setAttribute("data-openseadragon-mobile-css", "");
document.head.append(mark);

export class Light {
  constructor(listener) {
    this.listener = listener;
    this.range = { ...NORMAL };
    this.inverted = false;
    this.apply();
  }

  set(range) {
    this.range = { ...range };
    this.apply();
  }

  drag(across, down) {
    // Across widens, down darkens, as on a workstation.
    const width = Math.min(2, Math.max(0.02, this.range.high - this.range.low + across / 300));
    const level = Math.min(1.2, Math.max(-0.2, (this.range.high + this.range.low) / 2 + down / 300));
    this.set({ low: level - width / 2, high: level + width / 2 });
  }

  invert() {
    this.inverted = !this.inverted;
    this.apply();
  }

  apply() {
    const width = this.range.high - this.range.low;
    let slope = 1 / width;
    let intercept = -this.range.low / width;
    if (this.inverted) [slope, intercept] = [-slope, 1 - intercept];
    for (const channel of document.querySelectorAll("#window feComponentTransfer > *")) {
      channel.setAttribute("slope", slope.toFixed(4));
      channel.setAttribute("intercept", intercept.toFixed(4));
    }
    this.listener?.(this);
  }

  get words() {
    const level = ((this.range.high + this.range.low) / 2) * 255;
    return `W ${Math.round((this.range.high - this.range.low) * 255)} L ${Math.round(level)}`;
  }
}

// One knee: {picture, map?, space?, moved?, side, label, chip}
export class Pane {
  constructor(knee, panes) {
    this.knee = knee;
    this.panes = panes;
    this.flipped = false;
    this.stage = h("div", { class: "stage" });
    this.mirrorTag = h("span", { class: "tag", hidden: true }, "mirrored");
    this.element = h("figure", { class: `pane ${knee.kind || ""}` },
      this.stage,
      h("figcaption", {},
        h("span", { class: "side-label" }, h("b", {}, knee.side || "?"), h("span", {}, SIDES[knee.side])),
        this.mirrorTag,
        h("span", { class: "caption" }, knee.label)),
      knee.close && h("button", { type: "button", class: "quiet close", "aria-label": "Close this knee", onclick: knee.close }, "×"));
    this.overlay = knee.map && h("img", { class: "heat", src: knee.map, alt: "" });
    this.margins = knee.space && new Margins(knee.space, knee.moved);
    for (const [kind, handler] of [["pointerdown", this.press], ["dblclick", () => panes.fit()]]) this.stage.addEventListener(kind, handler.bind(this), true);
    this.stage.addEventListener("wheel", () => { panes.leader = this; }, { capture: true, passive: true });
    this.stage.addEventListener("auxclick", (event) => event.preventDefault());
  }

  open() {
    this.viewer = OpenSeadragon({
      element: this.stage,
      drawer: "canvas",
      tileSources: { type: "image", url: this.knee.picture, buildPyramid: false },
      showNavigationControl: false,
      keyboardNavEnabled: false,
      overlayPreserveContentDirection: false,
      animationTime: 0.25,
      visibilityRatio: 0.3,
      minZoomImageRatio: 0.5,
      maxZoomPixelRatio: 12,
      zoomPerScroll: 1.25,
      gestureSettingsMouse: { dragToPan: false, clickToZoom: false, dblClickToZoom: false, scrollToZoom: true },
      gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: false, flickEnabled: false },
      gestureSettingsPen: { clickToZoom: false, dblClickToZoom: false },
    });
    this.viewer.addHandler("open", () => {
      const size = this.viewer.world.getItemAt(0).getContentSize();
      if (this.overlay) this.viewer.addOverlay({ element: this.overlay, location: new OpenSeadragon.Rect(0, 0, 1, size.y / size.x) });
      if (this.margins) {
        this.margins.open(size);
        // As the map, it is turned and mirrored with the picture.
        this.viewer.addOverlay({ element: h("div", { class: "over-picture" }, this.margins.element), location: new OpenSeadragon.Rect(0, 0, 1, size.y / size.x) });
      }
      this.viewer.drawer.canvas.classList.add("windowed");
      this.stage.querySelector(".openseadragon-canvas")?.setAttribute("tabindex", "-1");
      this.turn();
      this.element.dataset.ready = "true";
      this.panes.notify();
    });
    this.viewer.addHandler("open-failed", () => {
      this.element.classList.add("failed");
      this.stage.replaceChildren(h("p", { class: "notice bad" }, "The picture could not be loaded."));
    });
    this.viewer.addHandler("viewport-change", () => this.panes.follow(this));
    this.viewer.addHandler("canvas-press", () => { this.panes.leader = this; });
  }

  press(event) {
    this.panes.leader = this;
    if (event.target.closest?.("[data-point]")) return; // a margin's, moved by itself
    const pan = event.button === 1 || (event.button === 0 && event.shiftKey);
    if (event.pointerType !== "mouse" || (!pan && event.button !== 0)) return;
    event.preventDefault();
    let { clientX: x, clientY: y } = event;
    const moved = (move) => {
      const [across, down] = [move.clientX - x, move.clientY - y];
      ({ clientX: x, clientY: y } = move);
      if (!pan) this.panes.light.drag(across, down);
      else this.viewer.viewport.panBy(this.viewer.viewport.deltaPointsFromPixels(new OpenSeadragon.Point(this.flipped ? across : -across, -down)), true);
    };
    const done = () => {
      removeEventListener("pointermove", moved);
      removeEventListener("pointerup", done);
    };
    addEventListener("pointermove", moved);
    addEventListener("pointerup", done);
  }

  turn() {
    if (!this.viewer?.viewport) return;
    const sameWay = this.panes.oneWay && this.knee.side === "L";
    this.flipped = sameWay !== this.panes.mirrored;
    this.viewer.viewport.setFlip(this.flipped);
    this.viewer.viewport.setRotation(this.panes.rotation);
    this.mirrorTag.hidden = !this.flipped;
    this.element.dataset.flipped = String(this.flipped);
  }

  showMap(opacity) {
    this.overlay?.style.setProperty("opacity", opacity);
  }
}

export class Panes {
  constructor(light) {
    this.light = light;
    this.element = h("div", { class: "panes" });
    this.all = [];
    this.leader = null;
    this.oneWay = true;
    this.mirrored = false;
    this.rotation = 0;
    this.following = false;
    this.opacity = 0;
    this.marginsOn = false;
    this.onReady = () => {};
  }

  show(knees) {
    this.close();
    this.all = knees.map((knee) => new Pane(knee, this));
    this.element.dataset.count = String(knees.length);
    this.element.replaceChildren(...this.all.map((pane) => pane.element));
    // Once the panes have their size.
    requestAnimationFrame(() => {
      for (const pane of this.all) if (pane.element.isConnected) pane.open();
      this.map(this.opacity);
      this.margins(this.marginsOn);
    });
  }

  close() {
    for (const pane of this.all) {
      pane.margins?.flush();
      pane.viewer?.destroy();
    }
    this.all = [];
    this.leader = null;
  }

  notify() {
    this.onReady();
  }

  follow(leader) {
    if (this.following || (this.leader && this.leader !== leader)) return;
    this.following = true;
    const { viewport } = leader.viewer;
    const centre = viewport.getCenter(true);
    for (const pane of this.all) {
      if (pane === leader || !pane.viewer?.world?.getItemCount()) continue;
      const x = pane.flipped === leader.flipped ? centre.x : 1 - centre.x;
      pane.viewer.viewport.zoomTo(viewport.getZoom(true), null, true);
      pane.viewer.viewport.panTo(new OpenSeadragon.Point(x, centre.y), true);
    }
    this.following = false;
  }

  each(work) {
    this.leader = null;
    this.following = true;
    for (const pane of this.all) if (pane.viewer?.viewport && pane.viewer.world.getItemCount()) work(pane.viewer.viewport, pane.viewer);
    this.following = false;
  }

  fit() {
    this.each((viewport) => viewport.goHome(true));
  }

  actual() {
    this.each((viewport, viewer) => viewport.zoomTo(viewer.world.getItemAt(0).imageToViewportZoom(1), null, true));
  }

  mirror() {
    this.mirrored = !this.mirrored;
    this.turn();
  }

  orient() {
    this.oneWay = !this.oneWay;
    this.turn();
  }

  rotate(degrees) {
    this.rotation = (this.rotation + degrees + 360) % 360;
    this.turn();
  }

  turn() {
    for (const pane of this.all) pane.turn();
  }

  map(opacity) {
    this.opacity = opacity;
    for (const pane of this.all) pane.showMap(opacity);
  }

  margins(on) {
    this.marginsOn = on;
    for (const pane of this.all) pane.margins?.show(on);
  }
}
