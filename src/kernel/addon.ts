// The addon's face (native/) and where its file is found. Only this room loads it.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { HawserError } from "../std/errors.ts";

export interface NativeMapInfo {
  readonly id: number;
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  /** One entry as user space sees it: all CPUs of a per-CPU map. */
  readonly valueBytes: number;
  readonly maxEntries: number;
  readonly flags: number;
}

export interface NativeMap {
  info(): NativeMapInfo;
  get(key: Uint8Array): Uint8Array | undefined;
  set(key: Uint8Array, value: Uint8Array, flags: number): void;
  setInner(key: Uint8Array, inner: NativeMap): void;
  setInners(keys: Uint8Array, inner: readonly NativeMap[]): Promise<void>;
  store(first: number, values: Uint8Array | Uint16Array): void;
  delete(key: Uint8Array): boolean;
  lookupBatch(cursor: Uint8Array | undefined, count: number): { keys: Uint8Array; values: Uint8Array; cursor: Uint8Array | undefined };
  updateBatch(keys: Uint8Array, values: Uint8Array, flags: number): number;
  deleteBatch(keys: Uint8Array): number;
  pin(path: string): void;
  close(): void;
}

export interface NativeProgram {
  info(): { readonly id: number; readonly type: number; readonly name: string; readonly section: string };
  testRun(
    data: Uint8Array, context: Uint8Array | undefined, repeat: number, dataOutSize: number, contextOutSize: number, flags: number,
  ): { verdict: number; data: Uint8Array; context: Uint8Array; duration: number };
  close(): void;
}

export interface NativeLink {
  info(): { readonly id: number; readonly type: number; readonly programId: number };
  update(program: NativeProgram): void;
  pin(path: string): void;
  detach(): void;
  close(): void;
}

export interface NativeRing {
  close(): void;
}

export interface NativeNetlink {
  setOption(level: number, name: number, value: number): void;
  send(message: Uint8Array): void;
  ref(): void;
  unref(): void;
  close(): void;
}

export interface NativeLoadOptions {
  readonly rodata: Readonly<Record<string, Uint8Array>>;
  readonly reuse: Readonly<Record<string, NativeMap>>;
  readonly maxEntries: Readonly<Record<string, number>>;
  /** Program types for sections whose names libbpf does not know, by prefix. */
  readonly sectionTypes: Readonly<Record<string, number>>;
}

export interface Addon {
  readonly RingReader: new (map: NativeMap, limit: number, linger: number, onRecords: (records: readonly Uint8Array[]) => void) => NativeRing;
  readonly NetlinkSocket: new (
    netnsPath: string | undefined, protocol: number,
    onDatagrams: (error: Error | undefined, datagrams: readonly Uint8Array[]) => void,
  ) => NativeNetlink;
  loadObject(path: string, options: NativeLoadOptions): Promise<{
    readonly programs: readonly NativeProgram[];
    readonly maps: readonly { readonly name: string; readonly map: NativeMap }[];
  }>;
  loadInstructions(type: number, name: string, license: string, instructions: Uint8Array): NativeProgram;
  openMap(path: string): NativeMap;
  openMapById(id: number): NativeMap;
  createMap(
    type: number, name: string, keySize: number, valueSize: number, maxEntries: number, flags: number, inner?: NativeMap,
  ): NativeMap;
  openLink(path: string): NativeLink;
  attachDevice(program: NativeProgram, ifindex: number, attachType: number, flags: number): NativeLink;
  attachCgroup(program: NativeProgram, path: string, attachType: number, flags: number): NativeLink;
  tcCreate(ifindex: number, attachPoint: number): void;
  tcAttach(program: NativeProgram, ifindex: number, attachPoint: number, handle: number, priority: number, flags: number): void;
  tcDetach(ifindex: number, attachPoint: number, handle: number, priority: number): void;
  readBtf(path: string): Uint8Array;
  netnsCookie(path?: string): bigint | undefined;
  mount(source: string, target: string, type: string, flags: number, data: string): void;
  trim(): void;
  unixDatagram(address: string, text: string): void;
  fillTable(table: Uint16Array, numbers: Uint16Array, weights: Float64Array, next: Int32Array, skip: Int32Array, heaviest: number): void;
  isListable(table: Uint16Array): boolean;
  packTable(table: Uint16Array, listed: boolean): Uint8Array;
}

let loaded: Addon | undefined;

/** Loads the addon at the first call. @throws HawserError UNSUPPORTED when it is not built or does not fit this machine. */
export function addon(): Addon {
  if (loaded) return loaded;
  const places = ["build/hawser.node", `prebuilds/${process.platform}-${process.arch}/hawser.node`].map((place) =>
    fileURLToPath(new URL(`../../${place}`, import.meta.url)),
  );
  const found = places.find((place) => existsSync(place));
  if (found === undefined) {
    throw new HawserError("UNSUPPORTED", `the native addon is missing: none of ${places.join(", ")}; build it with \`make native\``);
  }
  try {
    loaded = createRequire(import.meta.url)(found) as Addon;
  } catch (cause) {
    throw new HawserError("UNSUPPORTED", `the native addon ${found} does not load: ${String(cause)}`, { cause });
  }
  return loaded;
}
