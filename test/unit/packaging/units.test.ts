// The systemd units: what the agent relies on must stand in them.
import { readFileSync } from "node:fs";
import test from "ava";
import { parseConfig } from "../../../src/config/load.ts";

const folder = new URL("../../../packaging/", import.meta.url);

/** Section → key → values, in order. */
function unit(name: string): ReadonlyMap<string, ReadonlyMap<string, readonly string[]>> {
  const sections = new Map<string, Map<string, string[]>>();
  let section = new Map<string, string[]>();
  for (const line of readFileSync(new URL(name, folder), "utf8").split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const head = /^\[(\w+)\]$/.exec(line);
    if (head?.[1] !== undefined) {
      section = new Map();
      sections.set(head[1], section);
      continue;
    }
    const at = line.indexOf("=");
    if (at < 1) throw new SyntaxError(`${name}: "${line}" is no assignment`);
    const key = line.slice(0, at);
    section.set(key, [...(section.get(key) ?? []), line.slice(at + 1)]);
  }
  return sections;
}

function value(of: ReturnType<typeof unit>, section: string, key: string): string | undefined {
  return of.get(section)?.get(key)?.at(-1);
}

test("R91: agent and socket come before Docker, and the socket is where the configuration says", (t) => {
  const [service, socket] = [unit("hawser.service"), unit("hawser.socket")];
  t.is(value(service, "Unit", "Before"), "docker.service");
  t.is(value(socket, "Unit", "Before"), "docker.service");
  t.is(value(service, "Unit", "Requires"), "hawser.socket");
  t.is(value(socket, "Socket", "ListenStream"), `${parseConfig("", "").docker.pluginDirectory}/hawser.sock`);
});

test("R81: the plugin socket is root's and its group's alone", (t) => {
  t.is(value(unit("hawser.socket"), "Socket", "SocketMode"), "0660");
  t.is(value(unit("hawser.socket"), "Socket", "SocketUser"), "root");
});

test("R114: systemd waits for READY, watches for signs of life, and starts the agent again", (t) => {
  const service = unit("hawser.service");
  t.is(value(service, "Service", "Type"), "notify");
  t.is(value(service, "Service", "Restart"), "always");
  t.true(Number(value(service, "Service", "WatchdogSec")) > 0);
});

test("an agent of 10,000 services, and the process that reads them, are not slowed down for their memory", (t) => {
  const [, number, size = ""] = /^(\d+)([MG])$/.exec(value(unit("hawser.service"), "Service", "MemoryHigh") ?? "") ?? [];
  t.true(Number(number) * (size === "G" ? 1024 : 1) > 670 + 110);
});

test("the service's folders are the configuration's", (t) => {
  const [service, { paths }] = [unit("hawser.service"), parseConfig("", "")];
  t.is(`/var/lib/${value(service, "Service", "StateDirectory")}`, paths.state);
  t.is(`/run/${value(service, "Service", "RuntimeDirectory")}`, paths.run);
  t.true(paths.bpffs.startsWith("/sys/fs/bpf/") && (value(service, "Service", "ReadWritePaths") ?? "").includes("/sys/fs/bpf"));
});
