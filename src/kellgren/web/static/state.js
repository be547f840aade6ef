// The work-list as the server knows it, kept up to date by asking what changed.

import * as api from "./api.js";
import { announce } from "./dom.js";
import { remember } from "./names.js";

const OPEN = new Set(["waiting", "working"]);
const SENDERS = 3;

export const appState = { about: null, cases: new Map(), sending: [], trouble: "", counts: {}, loaded: false, filter: "all" };
const listeners = new Set();
let revision = 0;
let timer = 0;
let senders = 0;
let local = 0;

export function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function changed() {
  for (const listener of listeners) listener();
}

export const isOpen = (entry) => OPEN.has(entry.state);
export const newestFirst = () => [...appState.cases.values()].sort((a, b) => b.created.localeCompare(a.created) || b.revision - a.revision);
export const waiting = () => appState.sending.filter((one) => !one.error).length + (appState.counts.waiting || 0) + (appState.counts.working || 0);

export async function refresh() {
  clearTimeout(timer);
  try {
    const before = waiting();
    let answer = await api.changes(revision);
    const total = Object.values(answer.counts).reduce((sum, count) => sum + count, 0);
    merge(answer);
    if (appState.cases.size > total) {
      // Someone deleted cases elsewhere: start over.
      appState.cases.clear();
      answer = await api.changes(0);
      merge(answer);
    }
    appState.trouble = "";
    appState.loaded = true;
    if (answer.cases.length || before !== waiting()) changed();
    if (before && !waiting()) announce("All films are read.");
  } catch (error) {
    if (appState.trouble !== error.message) {
      appState.trouble = error.message;
      changed();
    }
  }
  const pause = appState.trouble ? 3000 : waiting() ? 350 : document.hidden ? 15000 : 4000;
  timer = setTimeout(refresh, pause);
}

function merge(answer) {
  for (const one of answer.cases) appState.cases.set(one.id, one);
  revision = answer.revision;
  appState.counts = answer.counts;
}

export function send(files) {
  const limit = appState.about.limits.file_bytes;
  for (const file of files) {
    const one = { key: `local-${(local += 1)}`, file, name: file.name, error: "" };
    if (file.size > limit) one.error = `is larger than ${Math.round(limit / 2 ** 20)} MB`;
    appState.sending.push(one);
  }
  if (files.length) announce(`${files.length} ${files.length === 1 ? "film is" : "films are"} on the way.`);
  changed();
  while (senders < SENDERS && appState.sending.some((one) => !one.error && !one.under)) sender();
}

async function sender() {
  senders += 1;
  for (;;) {
    const one = appState.sending.find((each) => !each.error && !each.under);
    if (!one) break;
    one.under = true;
    try {
      const found = await api.submit(one.file);
      remember(found.id, one.name);
      if (!appState.cases.has(found.id)) appState.cases.set(found.id, found);
      appState.sending.splice(appState.sending.indexOf(one), 1);
      if (isOpen(found)) appState.counts.waiting = (appState.counts.waiting || 0) + 1;
    } catch (error) {
      one.error = error.message;
    }
    changed();
    clearTimeout(timer);
    timer = setTimeout(refresh, 100);
  }
  senders -= 1;
}

export function show(filter) {
  appState.filter = filter;
  changed();
}

export function dismiss(one) {
  appState.sending.splice(appState.sending.indexOf(one), 1);
  changed();
}

export async function remove(id) {
  await api.remove(id);
  appState.cases.delete(id);
  await refresh();
  changed();
}
