// The compiled objects in the kernel: loaded against the pinned maps, so that a new agent goes on with the old one's flows.
import type { MapOfMapsShape, MapShape, RingShape } from "../abi/codec.ts";
import { u32 } from "../abi/codec.ts";
import { configCodec, maps } from "../abi/generated.ts";
import type { Config } from "../abi/generated.ts";
import type { CgroupHook, Kernel, KernelMap, KernelObject, KernelProgram, MapInfo } from "../kernel/types.ts";
import type { Log } from "../std/log.ts";
import { inherit } from "./former-maps.ts";
import { listMapPins, makeFolders, mapPath, replacePin } from "./pins.ts";

/** Loaded when they are wanted. */
export type LaterObject = "xdp-lb";

/** Those first that have maps of their own. */
export const objectNames = ["from-container", "netdev", "sock-lb", "to-container", "from-guest", "to-guest", "from-host", "from-overlay"] as const;

export interface LoadedPrograms extends Disposable {
  /** By function name. */
  readonly programs: ReadonlyMap<string, KernelProgram>;
  readonly cgroupPrograms: readonly { readonly name: string; readonly hook: CgroupHook }[];
  /** Our maps, open through their pins. */
  readonly maps: ReadonlyMap<string, KernelMap>;
  /** Loads an object, or loads it anew with another configuration: from now on its programs are those. Attached ones stay until they are swapped. */
  reload(name: (typeof objectNames)[number] | LaterObject, config: Config): Promise<void>;
  /** Pins again what somebody unpinned; the maps themselves live as long as we hold them. */
  pinAgain(): void;
  isPinned(): boolean;
}

/**
 * Maps that no pin holds yet, or whose pin has another shape, are made and pinned, with what can be taken over of the old one; programs already
 * attached keep that until they are swapped. Nothing is pinned before all is loaded: where that fails, an earlier version finds what it left.
 */
export async function loadPrograms(
  kernel: Kernel,
  where: { readonly bpffs: string; readonly objectDirectory: string },
  config: Config,
  log: Log,
): Promise<LoadedPrograms> {
  using stack = new DisposableStack();
  makeFolders(where.bpffs);
  const { open, former } = openPinnedMaps(kernel, where.bpffs, stack, log);
  const programs = new Map<string, KernelProgram>();
  const read = (name: string, with_: Config): Promise<KernelObject> =>
    kernel.loadObject(`${where.objectDirectory}/${name}.bpf.o`, { rodata: { hw_config: configCodec.encode(with_) }, reuse: open });
  const load = async (name: string): Promise<void> => {
    const object = stack.use(await read(name, config));
    for (const [mapName, map] of object.maps) if (!open.has(mapName) && mapName in maps) open.set(mapName, map);
    for (const [programName, program] of object.programs) programs.set(programName, program);
  };
  // Two at once would each make a map that is not there yet. When all are, the kernel looks through programs on every CPU.
  const waiting: string[] = [...objectNames];
  while (!Object.keys(maps).every((name) => open.has(name))) {
    const next = waiting.shift();
    if (next === undefined) break;
    await load(next);
  }
  const loaded = await Promise.allSettled(waiting.map((name) => load(name)));
  const failed = loaded.find((one) => one.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  const unpinned = (): string[] => {
    const pinned = new Set(listMapPins(where.bpffs));
    return [...open.keys()].filter((name) => !pinned.has(name));
  };
  for (const name of unpinned()) open.get(name)?.pin(mapPath(where.bpffs, name));
  // Last, because what an agent that ended in between has not replaced is taken over by the next.
  for (const [name, before] of former) {
    inherit(name, before, (other) => open.get(other));
    const map = open.get(name);
    if (map !== undefined) replacePin(mapPath(where.bpffs, name), (path) => map.pin(path));
  }
  const reloaded = new Map<string, KernelObject>();
  stack.defer(() => reloaded.forEach((object) => object.close()));
  const reload: LoadedPrograms["reload"] = async (name, next) => {
    const object = await read(name, next);
    for (const [programName, program] of object.programs) programs.set(programName, program);
    // What was loaded first keeps the maps open.
    reloaded.get(name)?.close();
    reloaded.set(name, object);
  };
  const kept = stack.move();
  const pinAgain = (): void => {
    makeFolders(where.bpffs);
    for (const name of unpinned()) open.get(name)?.pin(mapPath(where.bpffs, name));
  };
  return { programs, cgroupPrograms: cgroupPrograms(programs), maps: open, reload, pinAgain, isPinned: () => unpinned().length === 0, [Symbol.dispose]: () => kept.dispose() };
}

/** What differs between an open map and the one that the objects declare; undefined when nothing does. */
export function shapeDifference(name: string, info: MapInfo): string | undefined {
  const shape: AnyShape = maps[name as keyof typeof maps];
  const [keySize, valueSize] = shape.kind === "ringbuf" ? [0, 0] : shape.kind === "array_of_maps" ? [4, 4] : [shape.key.size, shape.value.size];
  return difference(info, { kind: shape.kind, keySize, valueSize, maxEntries: shape.maxEntries });
}

type AnyShape = MapShape<unknown, unknown> | MapOfMapsShape<unknown, unknown> | RingShape;

/** A map of maps takes only those like one that it was made with, which it does not tell: an empty slot is tried. */
function innerDifference(kernel: Kernel, name: string, outer: KernelMap): string | undefined {
  const shape: AnyShape = maps[name as keyof typeof maps];
  if (shape.kind !== "array_of_maps") return undefined;
  const { kind, key, value, flags, maxEntries } = shape.inner;
  const slot = u32.encode(0);
  const id = outer.get(slot);
  if (id !== undefined) {
    using inner = kernel.openMapById(u32.decode(id));
    return difference(inner.info, { kind, keySize: key.size, valueSize: value.size, flags });
  }
  using trial = kernel.createMap(kind, name, key.size, value.size, maxEntries, { flags });
  try {
    outer.setInner(slot, trial);
    outer.delete(slot);
    return undefined;
  } catch {
    return "its maps have another shape";
  }
}

function difference(info: MapInfo, wanted: Partial<MapInfo>): string | undefined {
  const differing = (Object.keys(wanted) as (keyof typeof wanted)[]).filter((field) => info[field] !== wanted[field]);
  return differing.length === 0 ? undefined : differing.map((field) => `${field} ${info[field]} → ${wanted[field]}`).join(", ");
}

/** `former`: those of another shape. */
function openPinnedMaps(kernel: Kernel, bpffs: string, stack: DisposableStack, log: Log): Record<"open" | "former", Map<string, KernelMap>> {
  const [open, former] = [new Map<string, KernelMap>(), new Map<string, KernelMap>()];
  for (const name of listMapPins(bpffs)) {
    if (!(name in maps)) continue;
    const map = stack.use(kernel.openPinnedMap(mapPath(bpffs, name)));
    const unlike = shapeDifference(name, map.info) ?? innerDifference(kernel, name, map);
    if (unlike === undefined) {
      open.set(name, map);
      continue;
    }
    log.warn("a pinned map has another shape than this version's and is replaced; what it held is taken over, written again or learnt again", { map: name, difference: unlike });
    former.set(name, map);
  }
  return { open, former };
}

function cgroupPrograms(programs: ReadonlyMap<string, KernelProgram>): { readonly name: string; readonly hook: CgroupHook }[] {
  return [...programs.values()]
    .filter((program) => program.section.startsWith("cgroup/"))
    .map((program) => ({ name: program.name, hook: program.section.slice("cgroup/".length) as CgroupHook }));
}
