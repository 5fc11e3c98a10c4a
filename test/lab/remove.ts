// Takes a lab down by its name alone, in reverse of how it was made, and says what is left of one.
import { existsSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { cgroup2, names } from "./names.ts";
import { run, waitFor } from "./run.ts";

/** Removes processes, namespaces, cgroups and files of the lab; succeeds when there are none. Throws what could not be removed. */
export async function remove(id: string): Promise<void> {
  const errors: unknown[] = [];
  const attempt = async (work: () => void | Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      errors.push(error);
    }
  };
  for (const folder of cgroupFolders(id)) await attempt(() => endProcesses(folder));
  for (const name of netnsNames(id)) await attempt(() => removeNetns(name));
  for (const folder of cgroupFolders(id)) await attempt(() => removeCgroup(folder));
  await attempt(() => rm(names(id).directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));
  if (errors.length > 0) throw new AggregateError(errors, `lab ${id} could not be removed: ${errors.map(String).join("; ")}`);
}

/** What the lab still has on this machine, one line each. */
export function leaks(id: string): readonly string[] {
  const { directory } = names(id);
  return [
    ...cgroupFolders(id).map((folder) => `cgroup ${folder}`),
    ...cgroupFolders(id).flatMap(processesIn).map((pid) => `process ${pid} ${commandOf(pid)}`),
    ...netnsNames(id).map((name) => `network namespace ${name}`),
    ...(existsSync(directory) ? [`directory ${directory}`] : []),
  ];
}

/** Also of cgroup v1, where the container runtime makes folders of the same name. */
function cgroupFolders(id: string): readonly string[] {
  const hierarchies = cgroup2 === "/sys/fs/cgroup" ? [cgroup2] : readdirSync("/sys/fs/cgroup").map((name) => join("/sys/fs/cgroup", name));
  return hierarchies.flatMap((hierarchy) =>
    readdirSync(hierarchy, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && entry.name.startsWith(`${names(id).prefix}-`))
      .map((entry) => join(hierarchy, entry.name)));
}

function netnsNames(id: string): readonly string[] {
  if (!existsSync("/run/netns")) return [];
  return readdirSync("/run/netns").filter((name) => name.startsWith(`${names(id).prefix}-`));
}

async function removeNetns(name: string): Promise<void> {
  const { code, stderr } = await run(["ip", "netns", "delete", name], { mayFail: true });
  if (code !== 0 && existsSync(`/run/netns/${name}`)) throw new Error(`${name}: ${stderr.trim()}`);
}

/** Ends every process below the folder, whatever its parent, and waits until they are gone. */
async function endProcesses(folder: string): Promise<void> {
  if (!existsSync(join(folder, "cgroup.kill"))) return;
  await waitFor(`the processes in ${folder} to end`, () => {
    if (!existsSync(folder) || readFileSync(join(folder, "cgroup.events"), "utf8").includes("populated 0")) return true;
    writeFileSync(join(folder, "cgroup.kill"), "1");
    return false;
  }, { explain: () => processesIn(folder).map(commandOf).join("\n") });
}

async function removeCgroup(folder: string): Promise<void> {
  await waitFor(`${folder} to be removable`, () => {
    try {
      for (const child of below(folder)) rmdirSync(child);
      return true;
    } catch {
      return !existsSync(folder);
    }
  });
}

/** The folder and all below it, deepest first. */
function below(folder: string): readonly string[] {
  if (!existsSync(folder)) return [];
  const children = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [...children.flatMap((child) => below(join(folder, child.name))), folder];
}

function processesIn(folder: string): readonly number[] {
  return below(folder).flatMap((each) => {
    try {
      return readFileSync(join(each, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number);
    } catch {
      return [];
    }
  });
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
  } catch {
    return "(gone)";
  }
}
