// Draws a shape of the ABI byte by byte, four bytes a row, padding as zeros.
import type { Codec } from "../../src/abi/codec.ts";

export interface Segment {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  readonly type: string;
}

const perRow = 4;
const cell = 12;

/** The fields in order, those of inner shapes in their place (`to.sport`), and what no field covers as padding named `0`. */
export function segmentsOf(codec: Codec<unknown>, name: string): readonly Segment[] {
  const segments: Segment[] = [];
  let at = 0;
  const pad = (to: number): void => {
    if (to > at) segments.push({ name: "0", offset: at, size: to - at, type: "padding" });
  };
  for (const field of codec.layout.length === 0 ? [{ name, offset: 0, size: codec.size, type: codec.name }] : fieldsOf(codec, "", 0)) {
    pad(field.offset);
    segments.push(field);
    at = field.offset + field.size;
  }
  pad(codec.size);
  return segments;
}

function fieldsOf(codec: Codec<unknown>, prefix: string, base: number): readonly Segment[] {
  return codec.layout.flatMap(({ name, offset, codec: inner }) =>
    inner.layout.length > 0
      ? fieldsOf(inner, `${prefix}${name}.`, base + offset)
      : [{ name: `${prefix}${name}`, offset: base + offset, size: inner.size, type: inner.name }]);
}

/** Lines of a drawing; the number on the left is the row's first byte. */
export function draw(codec: Codec<unknown>, name: string): readonly string[] {
  const segments = segmentsOf(codec, name);
  const owner = (byte: number): Segment | undefined => segments.find((one) => byte >= one.offset && byte < one.offset + one.size);
  const rows = Math.ceil(codec.size / perRow);
  const lines = [`      ${["0", "1", "2", "3"].map((digit) => digit.padEnd(cell)).join("").trimEnd()}`, `    ${border(0)}`];
  for (let row = 0; row < rows; row++) {
    lines.push(`${String(row * perRow).padStart(3)} ${content(row)}`, `    ${border(row + 1)}`);
  }
  return lines;

  function border(row: number): string {
    let line = "";
    for (let column = 0; column < perRow; column++) {
      const [above, below] = [owner((row - 1) * perRow + column), owner(row * perRow + column)];
      const through = row > 0 && row < rows && above === below;
      line += `${through && column > 0 ? " " : "+"}${(through ? " " : "-").repeat(cell - 1)}`;
    }
    return `${line}+`;
  }

  function content(row: number): string {
    let line = "";
    for (let column = 0; column < perRow; ) {
      const byte = row * perRow + column;
      const segment = owner(byte);
      const width = segment ? Math.min(perRow - column, segment.offset + segment.size - byte) : perRow - column;
      const label = segment?.offset === byte ? segment.name : "";
      line += `| ${label.padEnd(cell * width - 2).slice(0, cell * width - 2)}`;
      column += width;
    }
    return `${line}|`;
  }
}
