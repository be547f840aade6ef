// Starts the page: which view the address asks for, what the header says, where films are dropped.

import * as api from "./api.js";
import { caseView } from "./case.js";
import { h } from "./dom.js";
import { keySheet } from "./keys.js";
import { ROOT } from "./root.js";
import { studyList, studyReader, studyResults } from "./study.js";
import { subscribe, refresh, appState, send, waiting } from "./state.js";
import { workList } from "./worklist.js";

const main = document.getElementById("main");
let leave = () => {};
let onKey = () => false;

export function go(path) {
  history.pushState(null, "", path);
  show();
}

const ROOMS = [[`${ROOT}/`, "Work-list"], [`${ROOT}/studies`, "Studies"]];

function viewAt(place, id, reader) {
  const studies = place === "studies";
  document.getElementById("rooms").replaceChildren(...ROOMS.map(([path, name]) =>
    h("a", { href: path, "data-link": true, "aria-current": path.endsWith("/studies") === studies ? "page" : null }, name)));
  if (place === "cases" && id) return caseView(id, go);
  if (studies && reader) return studyReader(id, reader, go);
  if (studies && id) return studyResults(id, go);
  return studies ? studyList(go) : workList(go);
}

function show() {
  leave();
  const view = viewAt(...location.pathname.slice(ROOT.length).split("/").slice(1).map(decodeURIComponent));
  // Asked when they are needed: a view that loads first gets its keys later.
  leave = () => view.leave?.();
  onKey = (event, down) => view.onKey?.(event, down);
  document.title = `${view.title} · kellgren`;
  main.className = view.name;
  main.replaceChildren(view.element);
  main.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

// Only an open dialog: one just closed keeps the focus until the next frame, and the key is the page's.
function typing(target) {
  return target.closest?.("input, textarea, select, dialog[open]") && target.type !== "range" && target.type !== "checkbox";
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (event.key === "?") {
    keySheet();
    event.preventDefault();
  } else if (onKey(event, true)) event.preventDefault();
});
document.addEventListener("keyup", (event) => onKey(event, false));

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-link]");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(link.getAttribute("href"));
});
window.addEventListener("popstate", show);
document.getElementById("help").addEventListener("click", keySheet);

const veil = document.getElementById("drop");
const carriesFiles = (event) => [...event.dataTransfer.types].includes("Files");
addEventListener("dragenter", (event) => {
  event.preventDefault(); // else a drop right after the pointer came to another element is refused
  if (carriesFiles(event)) veil.hidden = false;
});
// The veil takes the drop: the list below is drawn anew under the pointer, and what falls on an
// element that was just replaced falls nowhere. Who leaves the window enters nothing else.
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) veil.hidden = true;
});
addEventListener("pointermove", () => { veil.hidden = true; });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", async (event) => {
  event.preventDefault();
  veil.hidden = true;
  const files = await api.filesOf(event.dataTransfer);
  await started;
  if (!appState.about) return;
  if (files.length && location.pathname !== `${ROOT}/`) go(`${ROOT}/`);
  send(files);
});

let graders = null;
let failing = "";
async function status() {
  const place = document.getElementById("status");
  const left = waiting();
  const words = appState.trouble
    ? ["trouble", "Server away"]
    : failing
      ? ["trouble", `Server in trouble: ${failing}`]
      : left
        ? ["busy", `${left} to read`]
        : graders
          ? ["ready", "Ready"]
          : ["busy", "Warming up"];
  if (place.dataset.state === words[0] && place.textContent === words[1]) return;
  place.dataset.state = words[0];
  place.textContent = words[1];
}

async function watchGraders() {
  try {
    const health = await api.health();
    graders = health.graders;
    failing = health.status === "failing" ? health.detail : "";
  } catch {
    graders = null;
  }
  status();
  setTimeout(watchGraders, graders && !failing ? 15000 : 700);
}

function signInView() {
  const trouble = h("p", { class: "error", role: "alert" });
  const field = h("input", { type: "password", id: "token", name: "token", autocomplete: "current-password", required: true });
  const form = h(
    "form",
    {
      class: "sign-in card",
      onsubmit: async (event) => {
        event.preventDefault();
        try {
          await api.signIn(field.value);
          location.reload();
        } catch (error) {
          trouble.textContent = error.message;
          field.select();
        }
      },
    },
    h("h1", {}, "Sign in"),
    h("p", {}, "This server was opened with a token. Ask whoever started it for the token."),
    h("label", { for: "token" }, "Token"),
    field,
    trouble,
    h("button", { class: "primary", type: "submit" }, "Enter"),
  );
  main.className = "centre";
  main.replaceChildren(form);
  field.focus();
}

const signOutButton = () => h("button", { type: "button", class: "quiet", onclick: async () => {
  await api.signOut();
  location.reload();
} }, "Sign out");

async function start() {
  let session;
  try {
    session = await api.session();
    if (!session.signed_in) {
      signInView();
      return;
    }
    appState.about = await api.about();
  } catch (error) {
    main.className = "centre";
    main.replaceChildren(
      h("section", { class: "card" }, h("h1", {}, "Nobody answers"), h("p", {}, error.message),
        h("button", { class: "primary", type: "button", onclick: () => location.reload() }, "Try again")),
    );
    return;
  }
  if (session.token_needed) document.getElementById("help").before(signOutButton());
  const { model } = appState.about;
  document.getElementById("credit").textContent = `${appState.about.software}, model ${model.name}, trained on: ${model.data.credit}`;
  subscribe(status);
  await refresh();
  show();
  watchGraders();
}

const started = start();
