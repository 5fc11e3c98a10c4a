// How this kernel attaches TC programs, asked of the kernel itself, and what sits on a device: expectations follow it.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createKernel } from "../../../src/kernel/index.ts";

/** Pinned links (Linux 6.6), or clsact filters, which have no pins and live in the kernel without us. */
export const tcx: boolean = createKernel().probeTcx();

/** How `inspect` calls it. */
export const tcMode = tcx ? "tcx" : "clsact";

/** The one filter of ours that a hook may have: priority and handle, as `filters` tells them. */
export const ourFilter = "18519 0x4857";

/** Priority and handle of each clsact filter on the hook. */
export function filters(device: string, hook: string): string[] {
  const shown = execFileSync("tc", ["filter", "show", "dev", device, hook], { encoding: "utf8" });
  return [...shown.matchAll(/pref (\d+) bpf chain 0 handle (\S+) .*direct-action/g)].map((match) => `${match[1]} ${match[2]}`);
}

/** The program sits on the device's hook in this kernel's way and in no other. */
export function sits(bpffs: string, program: string, device: string, hook: string): boolean {
  const pinned = existsSync(`${bpffs}/links/${program}@${device}`);
  const found = filters(device, hook).join();
  return tcx ? pinned && found === "" : !pinned && found === ourFilter;
}
