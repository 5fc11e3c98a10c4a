// Where one lab lives on the machine. All of it is found again by the lab's id alone, so that anybody can remove it.
import { existsSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The checkout. */
export const root = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");

const base = process.env["HAWSER_LAB_DIR"] ?? "/var/tmp";

/** The cgroup2 hierarchy: the whole of it, or beside v1's. */
export const cgroup2 = existsSync("/sys/fs/cgroup/cgroup.controllers") ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified";

/** `bridge` runs the scenarios on Docker's own driver, to tell a wrong test from a wrong Hawser. */
export const driver = process.env["HAWSER_LAB_DRIVER"] ?? "hawser";

export interface Names {
  /** `hwt` and the id; every name of the lab starts with it. */
  readonly prefix: string;
  readonly directory: string;
  netns(place: string): string;
  netnsPath(place: string): string;
  /** The cgroup2 folder that holds every process of the place. */
  cgroup(place: string): string;
}

export function names(id: string): Names {
  if (!/^[a-z0-9]{1,8}$/.test(id)) throw new Error(`a lab's id is up to 8 small letters and digits, not ${JSON.stringify(id)}`);
  const prefix = `hwt${id}`;
  return {
    prefix,
    directory: `${base}/${prefix}`,
    netns: (place) => `${prefix}-${place}`,
    netnsPath: (place) => `/run/netns/${prefix}-${place}`,
    cgroup: (place) => `${cgroup2}/${prefix}-${place}`,
  };
}

/** Every lab that left something on this machine. */
export function labIds(): readonly string[] {
  const found = new Set<string>();
  for (const [folder, pattern] of [
    [base, /^hwt([a-z0-9]{1,8})$/],
    ["/run/netns", /^hwt([a-z0-9]{1,8})-/],
    [cgroup2, /^hwt([a-z0-9]{1,8})-/],
  ] as const) {
    if (!existsSync(folder)) continue;
    for (const name of readdirSync(folder)) {
      const id = pattern.exec(name)?.[1];
      if (id !== undefined) found.add(id);
    }
  }
  return [...found].sort();
}

/** Wraps a command so that it runs in a cgroup2 folder; joining comes first, so that no child escapes. */
export function inCgroup(folder: string): readonly string[] {
  return ["sh", "-c", 'echo 0 > "$0/cgroup.procs" && exec "$@"', folder];
}
