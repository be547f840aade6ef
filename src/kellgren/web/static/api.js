// What the server is asked. Names of files never leave this tab's own memory except with the file.

import { ROOT } from "./root.js";

export class RequestError extends Error {
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch {
    throw new RequestError(0, "The server does not answer. Is kellgren serve still running?", 0);
  }
  // The session is over: the page asks for the token again.
  if (answer.status === 401 && !path.endsWith("/session")) location.reload();
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  let detail = "";
  try {
    detail = (await answer.json()).detail;
  } catch {
    // No JSON: the status has to do.
  }
  const text = typeof detail === "string" && detail ? detail : `The server answered ${answer.status}`;
  throw new RequestError(answer.status, text, Number(answer.headers.get("retry-after")) || 0);
}

export const about = () => ask(`${ROOT}/api/v1/about`);
export const session = () => ask(`${ROOT}/api/v1/session`);
// Answered with 503, and the reason, where the server is not ready.
export const health = async () => (await fetch(`${ROOT}/health`)).json();
export const getCase = (id) => ask(`${ROOT}/api/v1/cases/${encodeURIComponent(id)}`);
export const similar = (path) => ask(path);
export const changes = (after) => ask(`${ROOT}/api/v1/cases?limit=1000&after=${after}`);
export const remove = (id) => ask(`${ROOT}/api/v1/cases/${encodeURIComponent(id)}`, { method: "DELETE" });
export const studies = () => ask(`${ROOT}/api/v1/studies`);
export const study = (id) => ask(`${ROOT}/api/v1/studies/${encodeURIComponent(id)}`);
export const studyCalibration = (id) => ask(`${ROOT}/api/v1/studies/${encodeURIComponent(id)}/calibration`);
export const removeStudy = (id) => ask(`${ROOT}/api/v1/studies/${encodeURIComponent(id)}`, { method: "DELETE" });
export const readerWork = (id, reader) => ask(`${ROOT}/api/v1/studies/${encodeURIComponent(id)}/readers/${encodeURIComponent(reader)}`);
export const saveRead = (id, reader, item, read) => put(`${ROOT}/api/v1/studies/${id}/readers/${reader}/reads/${item}`, read);
export const settle = (id, item, grade) => put(`${ROOT}/api/v1/studies/${id}/items/${item}/settled`, { grade });
const jointSpace = (id, knee) => `${ROOT}/api/v1/cases/${encodeURIComponent(id)}/knees/${knee}/joint-space`;
export const correctJointSpace = (id, knee, correction) => put(jointSpace(id, knee), correction);
export const restoreJointSpace = (id, knee) => ask(jointSpace(id, knee), { method: "DELETE" });
const put = (path, content) =>
  ask(path, { method: "PUT", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) });
export const post = (path, content) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) });
export const signOut = () => ask(`${ROOT}/api/v1/session`, { method: "DELETE" });
export const signIn = (token) => post(`${ROOT}/api/v1/session`, { token });

export async function submit(file) {
  for (;;) {
    const form = new FormData();
    form.append("files", file, file.name);
    try {
      return (await ask(`${ROOT}/api/v1/cases`, { method: "POST", body: form })).cases[0];
    } catch (error) {
      if (error.status !== 503) throw error;
      await new Promise((done) => setTimeout(done, (error.retryAfter || 5) * 1000));
    }
  }
}

export async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      found.push(await new Promise((done, fail) => entry.file(done, fail)));
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, fail) => reader.readEntries(done, fail));
      if (!some.length) return;
      for (const one of some) await walk(one);
    }
  };
  for (const entry of entries) await walk(entry);
  return entries.some((entry) => entry.isDirectory) ? found.filter(looksLikeFilm) : found;
}

// In a folder there are other things too; DICOM files often have no suffix.
export function looksLikeFilm(file) {
  if (file.name.startsWith(".")) return false;
  const suffix = /\.([a-z]{1,5})$/i.exec(file.name);
  return !suffix || ["png", "jpg", "jpeg", "tif", "tiff", "dcm", "dicom"].includes(suffix[1].toLowerCase());
}
