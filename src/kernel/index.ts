// The kernel for the rest of Hawser: maps, programs, links, rings and the few host calls that Node has no words for.
import { mkdirSync, statfsSync } from "node:fs";
import { EventLayout } from "../abi/generated.ts";
import { addon } from "./addon.ts";
import { asKernelError, errno, kernelCall, refusedWith } from "./errors.ts";
import { LinkHandle } from "./link.ts";
import { MapHandle, nativeMap } from "./map.ts";
import { nativeOf, ObjectHandle, ProgramHandle } from "./program.ts";
import type { Kernel, LoadOptions } from "./types.ts";
import {
  cgroupAttachTypes, mapTypes, noPreallocation, programTypes, tcAttachPoints, tcReplace, tcxAttachTypes, xdpAttachType, xdpFlags,
} from "./uapi.ts";

export { errno, KernelError, refusedWith } from "./errors.ts";
export { openNetlink } from "./netlink/index.ts";
export { listIpsecPolicies } from "./netlink/ipsec.ts";
export { openSocketList } from "./netlink/sockets.ts";
export { inspectNamespaces } from "./netlink/namespace.ts";
export type { NamespaceDevice, NamespaceView } from "./netlink/namespace.ts";
export { fillTableNatively, isListable, packTable } from "./table.ts";
export type * from "./types.ts";

const bpffsMagic = 0xcafe4a11;
/** Records handed over before the event loop gets its turn again. */
const recordsPerWakeup = 1024;
/** When a ring is looked at again: later than the programs are silent at most (bpf/lib/events.h). */
const lingerMs = 2 * EventLayout.SILENCE;

/** Nothing happens until a function is called; the addon is loaded then. */
export function createKernel(): Kernel {
  return {
    loadObject: (path, options = {}) => loadObject(path, options),
    openPinnedMap: (path) => kernelCall(() => new MapHandle(addon().openMap(path))),
    openPinnedLink: (path) => kernelCall(() => new LinkHandle(addon().openLink(path))),

    openMapById: (id) => kernelCall(() => new MapHandle(addon().openMapById(id))),

    createMap: (kind, name, keySize, valueSize, maxEntries, more = {}) => {
      if (kind === "other") throw new TypeError(`map ${name}: "other" is no kind that can be made`);
      const flags = (more.flags ?? 0) | (kind === "lpm_trie" ? noPreallocation : 0);
      const inner = more.inner === undefined ? [] : [nativeMap(more.inner)] as const;
      return kernelCall(() => new MapHandle(addon().createMap(mapTypes[kind], name, keySize, valueSize, maxEntries, flags, ...inner)));
    },

    attachTcx: (program, ifindex, hook) =>
      kernelCall(() => new LinkHandle(addon().attachDevice(nativeOf(program), ifindex, tcxAttachTypes[hook], 0))),

    attachClsact: (program, ifindex, hook, handle, priority) =>
      kernelCall(() => {
        const point = tcAttachPoints[hook];
        try {
          kernelCall(() => addon().tcCreate(ifindex, point));
        } catch (error) {
          if (!refusedWith(error, errno.EEXIST)) throw error; // one qdisc serves everybody
        }
        addon().tcAttach(nativeOf(program), ifindex, point, handle, priority, tcReplace);
      }),

    detachClsact: (ifindex, hook, handle, priority) =>
      kernelCall(() => addon().tcDetach(ifindex, tcAttachPoints[hook], handle, priority)),

    attachXdp: (program, ifindex, mode) =>
      kernelCall(() => new LinkHandle(addon().attachDevice(nativeOf(program), ifindex, xdpAttachType, xdpFlags[mode]))),

    attachCgroup: (program, cgroupPath, hook) =>
      kernelCall(() => new LinkHandle(addon().attachCgroup(nativeOf(program), cgroupPath, cgroupAttachTypes[hook], 0))),

    openRing: (map, onRecord) => {
      const onRecords = (records: readonly Uint8Array[]): void => records.forEach((record) => onRecord(record));
      const ring = kernelCall(() => new (addon().RingReader)(nativeMap(map), recordsPerWakeup, lingerMs, onRecords));
      return { [Symbol.dispose]: () => ring.close() };
    },

    readBtf: (path) => kernelCall(() => addon().readBtf(path)),
    netnsCookie: (path) => kernelCall(() => addon().netnsCookie(path)),
    trim: () => addon().trim(),
    probeTcx,
    mountBpffs,

    sdNotify: (state) => {
      const address = process.env["NOTIFY_SOCKET"];
      if (address === undefined || address === "") return false;
      kernelCall(() => addon().unixDatagram(address, state));
      return true;
    },
  };
}

async function loadObject(path: string, options: LoadOptions): Promise<ObjectHandle> {
  const reuse = Object.fromEntries([...(options.reuse ?? [])].map(([name, map]) => [name, nativeMap(map)]));
  try {
    const { programs, maps } = await addon().loadObject(path, {
      rodata: options.rodata ?? {},
      reuse,
      maxEntries: options.maxEntries ?? {},
      // libbpf 1.1 knows the section "tc" alone, not "tc/from-container".
      sectionTypes: { tc: programTypes.schedCls },
    });
    return new ObjectHandle(
      programs.map((program) => new ProgramHandle(program)),
      new Map(maps.map(({ name, map }) => [name, new MapHandle(map)])),
    );
  } catch (error) {
    throw asKernelError(error);
  }
}

/** Asks for an attachment to a device that cannot be: a kernel that knows TCX misses the device, another the attach type. */
function probeTcx(): boolean {
  return kernelCall(() => {
    const returnZero = Uint8Array.of(0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0);
    const program = addon().loadInstructions(programTypes.schedCls, "probe", "GPL", returnZero);
    try {
      kernelCall(() => addon().attachDevice(program, 0, tcxAttachTypes.ingress, 0)).close();
      return true;
    } catch (error) {
      if (refusedWith(error, errno.ENODEV)) return true;
      if (refusedWith(error, errno.EINVAL)) return false;
      throw error;
    } finally {
      program.close();
    }
  });
}

function mountBpffs(path: string): void {
  kernelCall(() => {
    mkdirSync(path, { recursive: true });
    if (statfsSync(path).type !== bpffsMagic) addon().mount("bpf", path, "bpf", 0, "mode=0700");
  });
}
