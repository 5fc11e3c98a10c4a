// Makes one ABI of those of all objects, and fails where two of them disagree.
import { describe } from "./collect.ts";
import type { Abi, EnumShape, MapShape, StructShape } from "./collect.ts";

export interface ObjectAbi {
  /** The object's file, for messages. */
  readonly file: string;
  readonly abi: Abi;
}

/** @throws Error that names both files and the field, constant or attribute, one line per disagreement. */
export function merge(objects: readonly ObjectAbi[]): Abi {
  const faults: string[] = [];
  const structs = mergeOne(objects, (abi) => abi.structs, "struct", structRows, faults);
  const enums = mergeOne(objects, (abi) => abi.enums, "enum", enumRows, faults);
  const maps = mergeOne(objects, (abi) => abi.maps, "map", mapRows, faults);
  faults.push(...undefinedIn(structs, maps));
  if (faults.length > 0) throw new Error(faults.join("\n"));
  return { structs, enums, maps };
}

function undefinedIn(structs: ReadonlyMap<string, StructShape>, maps: ReadonlyMap<string, MapShape>): string[] {
  return [...maps.values()].flatMap((map) => [map, map.inner]).flatMap((map) => [map?.key, map?.value].flatMap((shape) =>
    (shape?.kind === "struct" && !structs.has(shape.name) ? [`map ${map?.name}: no object holds the fields of struct ${shape.name}`] : [])));
}

/** What must agree, as `part → text`. */
type Rows = ReadonlyMap<string, string>;

function mergeOne<T>(
  objects: readonly ObjectAbi[],
  part: (abi: Abi) => ReadonlyMap<string, T>,
  noun: string,
  rowsOf: (value: T) => Rows,
  faults: string[],
): ReadonlyMap<string, T> {
  const merged = new Map<string, { readonly value: T; readonly file: string }>();
  for (const { file, abi } of objects) {
    for (const [name, value] of part(abi)) {
      const known = merged.get(name);
      if (!known) {
        merged.set(name, { value, file });
        continue;
      }
      const [left, right] = [rowsOf(known.value), rowsOf(value)];
      const differing = [...new Set([...left.keys(), ...right.keys()])].filter((key) => left.get(key) !== right.get(key));
      for (const key of differing) {
        faults.push(`${noun} ${name}, ${key}: ${left.get(key) ?? "missing"} in ${known.file}, ${right.get(key) ?? "missing"} in ${file}`);
      }
    }
  }
  return new Map([...merged].map(([name, { value }]) => [name, value] as const).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function structRows(shape: StructShape): Rows {
  return new Map([
    ["size", `${shape.size} bytes`],
    ...shape.fields.map((field) => [`field ${field.name}`, `${describe(field.shape)} at byte ${field.offset}`] as const),
  ]);
}

function enumRows(shape: EnumShape): Rows {
  return new Map(shape.values.map(([name, value]) => [`constant ${name}`, String(value)]));
}

function mapRows(shape: MapShape): Rows {
  return new Map([
    ["type", String(shape.type)],
    ["key", describe(shape.key)],
    ["value", describe(shape.value)],
    ["max_entries", String(shape.maxEntries)],
    ["map_flags", String(shape.flags)],
    ...(shape.inner === null ? [] : [...mapRows(shape.inner)].map(([part, text]) => [`inner ${part}`, text] as const)),
  ]);
}
