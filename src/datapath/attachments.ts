// Which program sits where: pinned TCX links where the kernel has them, clsact filters where not, pinned links on cgroups.
import type { CgroupHook, Kernel, KernelLink, KernelProgram, TcHook, XdpMode } from "../kernel/types.ts";
import { HawserError } from "../std/errors.ts";
import { linkPath, listLinkPins, pinName, renamePin, unpin } from "./pins.ts";
import type { LinkPin } from "./pins.ts";
import { errnoOf } from "./sysctl.ts";
import type { ProgramRow } from "./types.ts";

/** Our clsact filters are told from others' by both numbers; neither is one that people or tools take first (R100). */
export const clsactHandle = 0x4857;
export const clsactPriority = 0x4857;

const ENOENT = 2;
const EINVAL = 22;
const ENODEV = 19;
const ENOLINK = 67;

/** Where on a device. */
export type DeviceHook = TcHook | XdpMode;

export interface Attachments {
  readonly mode: "tcx" | "clsact";
  /**
   * Puts the program there, or swaps it in for the one that is there without a gap (R14). `renamed`: the pin of that name
   * may hold another device that had the name before.
   */
  attach(program: string, device: string, ifindex: number, hook: DeviceHook, renamed?: boolean): void;
  /** Puts the program as it was loaded last in its own place, wherever that is. A device that went meanwhile is passed over. */
  renew(program: string): void;
  /** `ifindex` undefined: the device is gone, only its pin may be left. */
  detach(program: string, device: string, ifindex: number | undefined, hook: DeviceHook): void;
  /** The device has another name now. */
  rename(program: string, from: string, to: string): void;
  attachCgroup(program: string, cgroup: string, hook: CgroupHook): void;
  /** Id of the program that the pinned link holds, on whatever device it is; undefined: there is no such pin. */
  pinned(pin: LinkPin): number | undefined;
  rows(): readonly ProgramRow[];
  /** Links that should be pinned and are not: somebody removed the pin, and with it the program. */
  lost(): readonly LinkPin[];
  /** The link was removed by other means: it is not missed. */
  forget(pin: LinkPin): void;
}

export function createAttachments(
  kernel: Kernel,
  bpffs: string,
  tcx: boolean,
  programs: ReadonlyMap<string, KernelProgram>,
): Attachments {
  const filters = new Map<string, { readonly row: ProgramRow; readonly ifindex: number; readonly hook: TcHook }>();
  const hooks = new Map<string, DeviceHook | CgroupHook>();
  const placed = new Map<string, LinkPin>();
  const put = (pin: LinkPin, program: KernelProgram, renamed: boolean, create: () => KernelLink): void => {
    place(kernel, bpffs, pin, program, renamed, create);
    placed.set(pinName(pin), pin);
  };

  const attach: Attachments["attach"] = (name, device, ifindex, hook, renamed = false) => {
    const program = programNamed(programs, name);
    hooks.set(name, hook);
    if (isXdp(hook)) return put({ program: name, device }, program, renamed, () => kernel.attachXdp(program, ifindex, hook));
    if (tcx) return put({ program: name, device }, program, renamed, () => kernel.attachTcx(program, ifindex, hook));
    kernel.attachClsact(program, ifindex, hook, clsactHandle, clsactPriority);
    filters.set(`${name}@${device}`, { row: { name, device, hook, mode: "clsact" }, ifindex, hook });
  };

  const renew: Attachments["renew"] = (name) => {
    const program = programNamed(programs, name);
    for (const pin of placed.values()) if (pin.program === name) swapIn(kernel, linkPath(bpffs, pin), program);
    for (const { row, ifindex, hook } of filters.values()) {
      if (row.name === name) tolerate([ENOENT, EINVAL, ENODEV], () => kernel.attachClsact(program, ifindex, hook, clsactHandle, clsactPriority));
    }
  };

  const detach: Attachments["detach"] = (name, device, ifindex, hook) => {
    placed.delete(pinName({ program: name, device }));
    if (tcx || isXdp(hook)) return removePin(kernel, bpffs, { program: name, device });
    if (ifindex !== undefined) detachFilter(kernel, ifindex, hook);
    filters.delete(`${name}@${device}`);
  };

  const rename: Attachments["rename"] = (name, from, to) => {
    placed.delete(pinName({ program: name, device: from }));
    renamePin(linkPath(bpffs, { program: name, device: from }), linkPath(bpffs, { program: name, device: to }));
    filters.delete(`${name}@${from}`);
  };

  const attachCgroup: Attachments["attachCgroup"] = (name, cgroup, hook) => {
    const program = programNamed(programs, name);
    hooks.set(name, hook);
    put({ program: name, device: cgroup }, program, false, () => kernel.attachCgroup(program, cgroup, hook));
  };

  const rows = (): ProgramRow[] => {
    const pinned = listLinkPins(bpffs).map((pin): ProgramRow => ({
      name: pin.program,
      device: pin.device,
      hook: hooks.get(pin.program) ?? "",
      mode: pin.device.startsWith("/") ? "cgroup" : isXdp(hooks.get(pin.program)) ? "xdp" : "tcx",
    }));
    return [...pinned, ...[...filters.values()].map(({ row }) => row)];
  };

  const pinned: Attachments["pinned"] = (pin) => {
    using link = openPin(kernel, linkPath(bpffs, pin));
    return link?.program;
  };

  const lost = (): LinkPin[] => {
    const pinned = new Set(listLinkPins(bpffs).map(pinName));
    return [...placed].filter(([name]) => !pinned.has(name)).map(([, pin]) => pin);
  };

  /** A pin that a sweep took is none of ours any more. */
  const forget = (pin: LinkPin): void => void placed.delete(pinName(pin));

  return { mode: tcx ? "tcx" : "clsact", attach, renew, detach, rename, attachCgroup, pinned, rows, lost, forget };
}

/** Takes the program off its hook and the pin away. Succeeds when there is none. */
export function removePin(kernel: Kernel, bpffs: string, pin: LinkPin): void {
  const link = openPin(kernel, linkPath(bpffs, pin));
  if (link === undefined) return;
  try {
    tolerate([ENOLINK, ENODEV], () => link.detach());
  } finally {
    link.close();
    unpin(linkPath(bpffs, pin));
  }
}

/** Succeeds when there is no filter of ours, no qdisc or no device. */
export function detachFilter(kernel: Kernel, ifindex: number, hook: TcHook): void {
  tolerate([ENOENT, EINVAL, ENODEV], () => kernel.detachClsact(ifindex, hook, clsactHandle, clsactPriority));
}

function place(kernel: Kernel, bpffs: string, pin: LinkPin, program: KernelProgram, renamed: boolean, create: () => KernelLink): void {
  const path = linkPath(bpffs, pin);
  if (!renamed && swapIn(kernel, path, program)) return;
  const link = create();
  try {
    // The old link goes after the new one stands.
    unpin(path);
    link.pin(path);
  } finally {
    // The pin keeps the link; without a pin closing it detaches the program again.
    link.close();
  }
}

function isXdp(hook: DeviceHook | CgroupHook | undefined): hook is XdpMode {
  return hook === "native" || hook === "generic";
}

/** False when there is no link, or one (ENOLINK) whose device or cgroup is gone: what has the name now is another. */
function swapIn(kernel: Kernel, path: string, program: KernelProgram): boolean {
  const link = openPin(kernel, path);
  if (link === undefined) return false;
  try {
    return tolerate([ENOLINK], () => link.update(program));
  } finally {
    link.close();
  }
}

function openPin(kernel: Kernel, path: string): KernelLink | undefined {
  try {
    return kernel.openPinnedLink(path);
  } catch (error) {
    if (errnoOf(error) === ENOENT) return undefined;
    throw error;
  }
}

/** False when the call failed with one of these. */
function tolerate(errnos: readonly number[], call: () => unknown): boolean {
  try {
    call();
    return true;
  } catch (error) {
    if (errnos.includes(errnoOf(error) ?? 0)) return false;
    throw error;
  }
}

function programNamed(programs: ReadonlyMap<string, KernelProgram>, name: string): KernelProgram {
  const program = programs.get(name);
  if (program === undefined) throw new HawserError("INTERNAL", `no loaded object has a program ${name}`);
  return program;
}
