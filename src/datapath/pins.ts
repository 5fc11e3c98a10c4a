// Names of what we pin below our bpffs folder, and the folder's own calls.
import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, unlinkSync } from "node:fs";
import { errnoCode } from "./sysctl.ts";

/** Which program a pinned link holds on which device. */
export interface LinkPin {
  readonly program: string;
  readonly device: string;
}

/** sysfs keeps a place for the bpffs and allows no folder of ours in its stead; anywhere else our own folder is the mount. */
export function mountPointOf(bpffs: string): string {
  return bpffs.startsWith("/sys/fs/bpf/") ? "/sys/fs/bpf" : bpffs;
}

export function mapsFolder(bpffs: string): string {
  return `${bpffs}/maps`;
}

export function linksFolder(bpffs: string): string {
  return `${bpffs}/links`;
}

export function mapPath(bpffs: string, name: string): string {
  return `${mapsFolder(bpffs)}/${name}`;
}

export function linkPath(bpffs: string, pin: LinkPin): string {
  return `${linksFolder(bpffs)}/${pinName(pin)}`;
}

/** `PROGRAM@DEVICE`, or `PROGRAM@FOLDER` on a cgroup. bpffs refuses dots in names (a VLAN device has one): those, slashes and percent signs are written in hex. */
export function pinName(pin: LinkPin): string {
  return `${pin.program}@${pin.device.replace(/[%./]/g, (sign) => `%${sign.charCodeAt(0).toString(16)}`)}`;
}

export function parsePinName(name: string): LinkPin | undefined {
  const at = name.indexOf("@");
  if (at <= 0) return undefined;
  return {
    program: name.slice(0, at),
    device: name.slice(at + 1).replace(/%([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
  };
}

export function listLinkPins(bpffs: string): LinkPin[] {
  return listFolder(linksFolder(bpffs)).map(parsePinName).filter((pin) => pin !== undefined);
}

export function listMapPins(bpffs: string): string[] {
  return listFolder(mapsFolder(bpffs));
}

export function makeFolders(bpffs: string): void {
  mkdirSync(mapsFolder(bpffs), { recursive: true, mode: 0o700 });
  mkdirSync(linksFolder(bpffs), { recursive: true, mode: 0o700 });
}

/** Succeeds when there is none. */
export function unpin(path: string): void {
  ignore(["ENOENT"], () => unlinkSync(path));
}

/** In one step; `pin` pins what comes in the place of what was pinned there. What a crash left of it makes way. */
export function replacePin(path: string, pin: (path: string) => void): void {
  const next = `${path}@next`;
  unpin(next);
  pin(next);
  renameSync(next, path);
}

/** A folder that is a mount's root, or that holds somebody's pins, stays. */
export function removeFolder(path: string): void {
  ignore(["ENOENT", "EBUSY", "ENOTEMPTY"], () => rmdirSync(path));
}

/** Gives a pin another name unless that is taken. */
export function renamePin(from: string, to: string): void {
  if (existsSync(to) || !existsSync(from)) return;
  renameSync(from, to);
}

function listFolder(path: string): string[] {
  return ignore(["ENOENT"], () => readdirSync(path).toSorted()) ?? [];
}

function ignore<T>(codes: readonly string[], call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    if (codes.includes(errnoCode(error) ?? "")) return undefined;
    throw error;
  }
}
