// The path below which this server lies behind a proxy: this file is at ROOT/static/root.js.

export const ROOT = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
