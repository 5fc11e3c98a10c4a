// dockerode without what it needs only for Docker over SSH and for building images: that would be 6 MiB of an agent.
import type Dockerode from "dockerode";
import Module, { createRequire } from "node:module";
import stream from "node:stream";

/** What is not loaded: from where, what, and what stands in its place. Whoever called it would get a TypeError. */
const leftOut: readonly (readonly [from: readonly string[], what: string, instead: unknown])[] = [
  [["dockerode", "docker-modem"], "./ssh", {}],
  [["dockerode", "docker-modem"], "readable-stream", stream],
  [["dockerode"], "./session", {}],
  [["dockerode"], "@balena/dockerignore", {}],
  [["dockerode"], "tar-fs", {}],
];

export function loadDockerode(): typeof Dockerode {
  const require = createRequire(import.meta.url);
  for (const [from, what, instead] of leftOut) leaveOut(require, from, what, instead);
  return require("dockerode") as typeof Dockerode;
}

/** Another version of the library may have put it elsewhere; then it is loaded, which costs memory only. */
function leaveOut(require: NodeJS.Require, from: readonly string[], what: string, instead: unknown): void {
  let file: string;
  try {
    file = from.reduce((near, name) => createRequire(near.resolve(name)), require).resolve(what);
  } catch {
    return;
  }
  if (require.cache[file] !== undefined) return;
  const stand = new Module(file);
  stand.filename = file;
  stand.loaded = true;
  stand.exports = instead;
  require.cache[file] = stand;
}
