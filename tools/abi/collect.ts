// Takes from one object's BTF what the agent shares with it: hw_ structures, hw_ enums and the maps it declares.
import type { Btf, BtfType } from "./btf.ts";

/** What a field holds, as far as its bytes are concerned. */
export type Shape =
  | { readonly kind: "number"; readonly codec: "u8" | "u16" | "u32" | "u64" | "be16" | "be32" | "be64" }
  | { readonly kind: "ip" }
  | { readonly kind: "mac" }
  | { readonly kind: "bytes"; readonly length: number }
  | { readonly kind: "array"; readonly of: Shape; readonly length: number }
  | { readonly kind: "struct"; readonly name: string };

export interface StructField {
  readonly name: string;
  /** Bytes. */
  readonly offset: number;
  readonly shape: Shape;
  /** Named pad…: not in the TypeScript type, always zero. */
  readonly padding: boolean;
}

export interface StructShape {
  readonly name: string;
  readonly size: number;
  readonly fields: readonly StructField[];
}

export interface EnumShape {
  readonly name: string;
  readonly values: readonly (readonly [name: string, value: number])[];
}

export interface MapShape {
  readonly name: string;
  readonly type: number;
  readonly key: Shape | null;
  readonly value: Shape | null;
  readonly maxEntries: number;
  readonly flags: number;
  /** Of a map of maps: what its maps are like. */
  readonly inner: MapShape | null;
}

export interface Abi {
  readonly structs: ReadonlyMap<string, StructShape>;
  readonly enums: ReadonlyMap<string, EnumShape>;
  readonly maps: ReadonlyMap<string, MapShape>;
}

const ours = /^hw_/;

/** @throws Error naming the structure and field that has no plain shape. */
export function collect(btf: Btf): Abi {
  const structs = new Map<string, StructShape>();
  const enums = new Map<string, EnumShape>();
  const maps = new Map<string, MapShape>();
  const declarations = new Set(mapsOf(btf).map(({ type }) => innerOf(btf, type)));
  for (const id of shared(btf)) {
    const type = btf[id];
    if (declarations.has(id)) continue; // a structure that says what an inner map is like is no word of ours
    if (type?.kind === "struct" && ours.test(type.name) && type.name !== "hw_ip") structs.set(type.name, structOf(btf, type));
    if (type?.kind === "enum" && ours.test(type.name)) enums.set(type.name, { name: type.name, values: type.values });
  }
  for (const variable of mapsOf(btf)) {
    if (ours.test(variable.name)) maps.set(variable.name, mapOf(btf, variable.name, variable.type)); // others are one object's own
  }
  return { structs, enums, maps };
}

/** Ids of all that maps and global variables hold. What only a program's own functions hand around is nobody's business. */
function shared(btf: Btf): ReadonlySet<number> {
  const seen = new Set<number>();
  const visit = (id: number, throughPointers: boolean): void => {
    const type = btf[id];
    if (!type || seen.has(id)) return;
    seen.add(id);
    if (type.kind === "struct" || type.kind === "union") for (const member of type.members) visit(member.type, throughPointers);
    if (type.kind === "typedef" || type.kind === "qualifier" || type.kind === "array") visit(type.type, throughPointers);
    if (type.kind === "pointer" && throughPointers) visit(type.type, false);
  };
  for (const { type } of mapsOf(btf)) visit(innerOf(btf, type) ?? 0, true);
  for (const { type } of mapsOf(btf)) visit(type, true);
  for (const variable of variablesOf(btf, (section) => section !== ".maps")) visit(variable.type, false);
  return seen;
}

function mapsOf(btf: Btf): readonly (BtfType & { readonly kind: "variable" })[] {
  return variablesOf(btf, (section) => section === ".maps");
}

function variablesOf(btf: Btf, wanted: (section: string) => boolean): readonly (BtfType & { readonly kind: "variable" })[] {
  return btf
    .flatMap((type) => (type.kind === "datasec" && wanted(type.name) ? type.variables : []))
    .flatMap((id) => { const type = btf[id]; return type?.kind === "variable" ? [type] : []; });
}

/** A shape in C's words, for messages. */
export function describe(shape: Shape | null): string {
  switch (shape?.kind) {
    case undefined: return "nothing";
    case "number": return `__${shape.codec}`;
    case "ip": return "struct hw_ip";
    case "mac": return "__u8[6]";
    case "bytes": return `__u8[${shape.length}]`;
    case "array": return `${describe(shape.of)}[${shape.length}]`;
    case "struct": return `struct ${shape.name}`;
  }
}

function structOf(btf: Btf, type: BtfType & { readonly kind: "struct" | "union" }): StructShape {
  let end = 0;
  const fields = type.members.map((member): StructField => {
    const where = `struct ${type.name}, field ${member.name || "(unnamed)"}`;
    if (member.bits !== 0 || member.offset % 8 !== 0) throw new Error(`${where}: bit fields have no codec`);
    const offset = member.offset / 8;
    if (offset !== end) throw new Error(`${where}: ${offset - end} bytes before it are implicit padding; name them pad`);
    end = offset + sizeOf(btf, member.type);
    return { name: member.name, offset, shape: shapeOf(btf, member.type, member.name, where), padding: /^pad\d*$/.test(member.name) };
  });
  if (end !== type.size) throw new Error(`struct ${type.name}: its last ${type.size - end} bytes are implicit padding; name them pad`);
  return { name: type.name, size: type.size, fields };
}

function shapeOf(btf: Btf, id: number, name: string, where: string): Shape {
  const { type, order } = resolve(btf, id);
  switch (type.kind) {
    case "int":
    case "enum": {
      if (type.kind === "int" && type.signed) throw new Error(`${where}: signed numbers have no codec`);
      if (type.size === 1) return { kind: "number", codec: "u8" };
      if (type.size === 2) return { kind: "number", codec: order === "big" ? "be16" : "u16" };
      if (type.size === 4) return { kind: "number", codec: order === "big" ? "be32" : "u32" };
      if (type.size === 8) return { kind: "number", codec: order === "big" ? "be64" : "u64" };
      throw new Error(`${where}: ${type.size}-byte numbers have no codec`);
    }
    case "array": {
      const of = shapeOf(btf, type.type, "", where);
      if (of.kind !== "number" || of.codec !== "u8") return { kind: "array", of, length: type.length };
      return type.length === 6 && /(^|_)mac$/.test(name) ? { kind: "mac" } : { kind: "bytes", length: type.length };
    }
    case "struct":
    case "forward": // clang writes no more of a key or value that only an inner map has; another object must
      if (type.name === "hw_ip") return { kind: "ip" };
      if (ours.test(type.name)) return { kind: "struct", name: type.name };
      throw new Error(`${where}: struct ${type.name || "(unnamed)"} is not one of ours`);
    default:
      throw new Error(`${where}: ${type.kind} has no codec`);
  }
}

/** Follows typedefs and qualifiers; __be16, __be32 and __be64 say that the number is in network order. */
function resolve(btf: Btf, id: number): { readonly type: BtfType; readonly order: "native" | "big" } {
  let order: "native" | "big" = "native";
  let type = btf[id] ?? { kind: "void" };
  while (type.kind === "typedef" || type.kind === "qualifier") {
    if (type.kind === "typedef" && /^__be(16|32|64)$/.test(type.name)) order = "big";
    type = btf[type.type] ?? { kind: "void" };
  }
  return { type, order };
}

function sizeOf(btf: Btf, id: number): number {
  const { type } = resolve(btf, id);
  if (type.kind === "array") return type.length * sizeOf(btf, type.type);
  return "size" in type ? type.size : type.kind === "pointer" ? 8 : 0;
}

/** libbpf's way to write a map down: __uint(name, n) is `int (*name)[n]`, __type(name, t) is `t *name`. */
function mapOf(btf: Btf, name: string, id: number): MapShape {
  const { type } = resolve(btf, id);
  if (type.kind !== "struct") throw new Error(`map ${name} is no structure`);
  const pointee = (attribute: string): number | undefined => {
    const member = type.members.find((one) => one.name === attribute);
    const pointer = member && btf[member.type];
    return pointer?.kind === "pointer" ? pointer.type : undefined;
  };
  const number = (attribute: string): number => {
    const target = pointee(attribute);
    const array = target === undefined ? undefined : btf[target];
    return array?.kind === "array" ? array.length : 0;
  };
  const shape = (attribute: string): Shape | null => {
    const target = pointee(attribute);
    return target === undefined ? null : shapeOf(btf, target, "", `map ${name}, ${attribute}`);
  };
  const inner = innerOf(btf, id);
  return {
    name, type: number("type"), key: shape("key"), value: shape("value"), maxEntries: number("max_entries"), flags: number("map_flags"),
    inner: inner === undefined ? null : mapOf(btf, name, inner),
  };
}

/** __array(values, t) is `t *values[]`: the id of t. */
function innerOf(btf: Btf, id: number): number | undefined {
  const { type } = resolve(btf, id);
  const values = type.kind === "struct" ? type.members.find((member) => member.name === "values") : undefined;
  const list = values && btf[values.type];
  const pointer = list?.kind === "array" ? btf[list.type] : undefined;
  return pointer?.kind === "pointer" ? pointer.type : undefined;
}
