// The work-list as the server knows it, kept up to date by asking what changed.

import * as api from "./api.js";
import { say } from "./dom.js";
import { remember } from "./names.js";

const OPEN = new Set(["waiting", "working"]);
const SENDERS = 3;

export const room = { about: null, cases: new Map(), sending: [], trouble: "", counts: {}, loaded: false, filter: "all" };
const listeners = new Set();
let revision = 0;
let timer = 0;
let senders = 0;
let local = 0;

export function listen(tell) {
  listeners.add(tell);
  return () => listeners.delete(tell);
}

function changed() {
  for (const tell of listeners) tell();
}

export const isOpen = (entry) => OPEN.has(entry.state);
export const newestFirst = () => [...room.cases.values()].sort((a, b) => b.created.localeCompare(a.created) || b.revision - a.revision);
export const waiting = () => room.sending.filter((one) => !one.error).length + (room.counts.waiting || 0) + (room.counts.working || 0);

export async function refresh() {
  clearTimeout(timer);
  try {
    const before = waiting();
    let found = await api.changes(revision);
    const total = Object.values(found.counts).reduce((sum, count) => sum + count, 0);
    keep(found);
    if (room.cases.size > total) {
      // Someone deleted cases elsewhere: start over.
      room.cases.clear();
      found = await api.changes(0);
      keep(found);
    }
    room.trouble = "";
    room.loaded = true;
    if (found.cases.length || before !== waiting()) changed();
    if (before && !waiting()) say("All films are read.");
  } catch (error) {
    if (room.trouble !== error.message) {
      room.trouble = error.message;
      changed();
    }
  }
  const pause = room.trouble ? 3000 : waiting() ? 350 : document.hidden ? 15000 : 4000;
  timer = setTimeout(refresh, pause);
}

function keep(found) {
  for (const one of found.cases) room.cases.set(one.id, one);
  revision = found.revision;
  room.counts = found.counts;
}

export function send(files) {
  const limit = room.about.limits.file_bytes;
  for (const file of files) {
    const one = { key: `local-${(local += 1)}`, file, name: file.name, error: "" };
    if (file.size > limit) one.error = `is larger than ${Math.round(limit / 2 ** 20)} MB`;
    room.sending.push(one);
  }
  if (files.length) say(`${files.length} ${files.length === 1 ? "film is" : "films are"} on the way.`);
  changed();
  while (senders < SENDERS && room.sending.some((one) => !one.error && !one.under)) sender();
}

async function sender() {
  senders += 1;
  for (;;) {
    const one = room.sending.find((each) => !each.error && !each.under);
    if (!one) break;
    one.under = true;
    try {
      const found = await api.submit(one.file);
      remember(found.id, one.name);
      if (!room.cases.has(found.id)) room.cases.set(found.id, found);
      room.sending.splice(room.sending.indexOf(one), 1);
      if (isOpen(found)) room.counts.waiting = (room.counts.waiting || 0) + 1;
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
  room.filter = filter;
  changed();
}

export function forget(one) {
  room.sending.splice(room.sending.indexOf(one), 1);
  changed();
}

export async function remove(id) {
  await api.remove(id);
  room.cases.delete(id);
  await refresh();
  changed();
}
