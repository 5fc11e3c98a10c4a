// Checks of Docker and of our own parts: runtime, addon, programs, sockets.
import { join } from "node:path";
import { messageOf } from "../std/errors.ts";
import { type Check, type Finding, fail, ok, warn } from "./types.ts";

export const node: Check = async ({ host }) => {
  if (Number(host.node.split(".")[0]) >= 24) return [ok("Node.js", host.node)];
  return [fail("Node.js", `${host.node} is older than 24`, "start Hawser with bin/hawser, which brings its own (npm ci)")];
};

export const build: Check = async ({ host, installation }) => {
  const files = [installation.addon, ...installation.objects];
  const present = await Promise.all(files.map((file) => host.exists(file)));
  const missing = files.filter((_file, i) => !present[i]);
  if (missing.length === 0) return [ok("build", `addon and ${installation.objects.length} BPF objects are there`)];
  return [fail("build", `missing: ${missing.join(", ")}`, "npm run build (needs clang, g++ and libbpf-dev)")];
};

export const docker: Check = async ({ host, settings }) => {
  if (!settings.docker.enabled) return [ok("Docker", "off in the configuration")];
  const { socket } = settings.docker;
  try {
    const version = await host.getJson(socket, "/version");
    const text = isRecord(version) && typeof version["Version"] === "string" ? version["Version"] : "";
    if (text === "") return [warn("Docker", `what answers on ${socket} is not Docker`, "set docker.socket to dockerd's socket")];
    if (Number(text.split(".")[0]) < 20) return [fail("Docker", `${text} is older than 20.10`, "install a newer Docker; Debian 12's docker.io is new enough")];
    return [ok("Docker", `${text} on ${socket}`)];
  } catch (error) {
    return [warn("Docker", `does not answer on ${socket} (${messageOf(error)})`, "start dockerd, install it (apt-get install docker.io), or set docker.socket")];
  }
};

export const plugin: Check = async ({ host, settings }) => {
  if (!settings.docker.enabled) return [];
  const socket = join(settings.docker.pluginDirectory, "hawser.sock");
  const [answers, there] = [await host.accepts(socket), await host.exists(socket)];
  if (answers) return [ok("plugin socket", `${socket} answers`)];
  if (there) return [warn("plugin socket", `${socket} is there and nobody answers: Docker waits for it when it uses a Hawser network`, "start the agent, or remove the file")];
  return [warn("plugin socket", `${socket} is not there: no agent runs, so Docker knows no driver "hawser"`, "start the agent: hawser agent")];
};

export const agent: Check = async ({ host, settings }): Promise<readonly Finding[]> => {
  const { socket } = settings.api;
  if (await host.accepts(socket)) return [ok("agent", `answers on ${socket}; \`hawser status\` tells more`)];
  return [warn("agent", `does not answer on ${socket}`, "start it: hawser agent, or systemctl start hawser")];
};

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
