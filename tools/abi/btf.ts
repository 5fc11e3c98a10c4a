// Reads raw BTF (https://docs.kernel.org/bpf/btf.html) into a list of types, one per id.
import { textAt } from "./elf.ts";

export interface BtfMember {
  readonly name: string;
  readonly type: number;
  /** Offset in bits. */
  readonly offset: number;
  /** 0: no bit field. */
  readonly bits: number;
}

export type BtfType =
  | { readonly kind: "void" }
  | { readonly kind: "int"; readonly name: string; readonly size: number; readonly signed: boolean }
  | { readonly kind: "array"; readonly type: number; readonly length: number }
  | { readonly kind: "struct" | "union"; readonly name: string; readonly size: number; readonly members: readonly BtfMember[] }
  | { readonly kind: "enum"; readonly name: string; readonly size: number; readonly values: readonly (readonly [name: string, value: number])[] }
  | { readonly kind: "pointer" | "typedef" | "qualifier"; readonly name: string; readonly type: number }
  | { readonly kind: "variable"; readonly name: string; readonly type: number }
  | { readonly kind: "datasec"; readonly name: string; readonly variables: readonly number[] }
  /** A structure named in a pointer only, whose fields this object does not hold. */
  | { readonly kind: "forward"; readonly name: string }
  | { readonly kind: "other"; readonly name: string };

/** Index = BTF type id; 0 is void. */
export type Btf = readonly BtfType[];

const kinds = [
  "void", "int", "pointer", "array", "struct", "union", "enum", "forward", "typedef", "volatile", "const", "restrict",
  "function", "prototype", "variable", "datasec", "float", "declTag", "typeTag", "enum64",
] as const;

export function parseBtf(raw: Uint8Array): Btf {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const little = view.getUint16(0, true) === 0xeb9f;
  if (!little && view.getUint16(0) !== 0xeb9f) throw new Error("not BTF");
  const u32 = (at: number): number => view.getUint32(at, little);
  const headerSize = u32(4);
  const typesAt = headerSize + u32(8);
  const typesEnd = typesAt + u32(12);
  const strings = raw.subarray(headerSize + u32(16), headerSize + u32(16) + u32(20));

  const types: BtfType[] = [{ kind: "void" }];
  let at = typesAt;
  while (at < typesEnd) {
    const name = textAt(strings, u32(at));
    const info = u32(at + 4);
    const third = u32(at + 8);
    const count = info & 0xffff;
    const kind = kinds[(info >>> 24) & 31];
    const flag = info >>> 31 === 1;
    at += 12;
    const rows = <T>(width: number, read: (row: number) => T): T[] => {
      const list = Array.from({ length: count }, (_, i) => read(at + i * width));
      at += count * width;
      return list;
    };
    switch (kind) {
      case "int":
        types.push({ kind, name, size: third, signed: ((u32(at) >>> 24) & 1) === 1 });
        at += 4;
        break;
      case "array":
        types.push({ kind, type: u32(at), length: u32(at + 8) });
        at += 12;
        break;
      case "struct":
      case "union": {
        const members = rows(12, (row) => {
          const offset = u32(row + 8);
          return { name: textAt(strings, u32(row)), type: u32(row + 4), offset: flag ? offset & 0xffffff : offset, bits: flag ? offset >>> 24 : 0 };
        });
        types.push({ kind, name, size: third, members });
        break;
      }
      case "enum":
        types.push({ kind, name, size: third, values: rows(8, (row) => [textAt(strings, u32(row)), flag ? view.getInt32(row + 4, little) : u32(row + 4)] as const) });
        break;
      case "pointer":
      case "typedef":
        types.push({ kind, name, type: third });
        break;
      case "volatile":
      case "const":
      case "restrict":
      case "typeTag":
        types.push({ kind: "qualifier", name: kind, type: third });
        break;
      case "variable":
        types.push({ kind, name, type: third });
        at += 4;
        break;
      case "datasec":
        types.push({ kind, name, variables: rows(12, (row) => u32(row)) });
        break;
      case "prototype":
        rows(8, () => undefined);
        types.push({ kind: "other", name });
        break;
      case "declTag":
        at += 4;
        types.push({ kind: "other", name });
        break;
      case "enum64":
        rows(12, () => undefined);
        types.push({ kind: "other", name });
        break;
      case "forward":
        types.push({ kind, name });
        break;
      case "function":
      case "float":
        types.push({ kind: "other", name });
        break;
      default:
        throw new Error(`BTF kind ${(info >>> 24) & 31} of type ${types.length} is not known`);
    }
  }
  return types;
}
