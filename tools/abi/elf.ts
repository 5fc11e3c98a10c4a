// Finds one section of a 64-bit ELF object: just enough of ELF to reach .BTF.

/** The bytes of the section, or undefined when there is none. Format: elf(5). */
export function sectionOf(file: Uint8Array, name: string): Uint8Array | undefined {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < 64 || view.getUint32(0) !== 0x7f454c46 || file[4] !== 2) throw new Error("not a 64-bit ELF file");
  const little = file[5] === 1;
  const table = Number(view.getBigUint64(0x28, little));
  const entrySize = view.getUint16(0x3a, little);
  const count = view.getUint16(0x3c, little);
  const header = (index: number) => {
    const at = table + index * entrySize;
    return {
      name: view.getUint32(at, little),
      offset: Number(view.getBigUint64(at + 0x18, little)),
      size: Number(view.getBigUint64(at + 0x20, little)),
    };
  };
  const names = header(view.getUint16(0x3e, little));
  for (let index = 1; index < count; index++) {
    const section = header(index);
    if (textAt(file, names.offset + section.name) === name) return file.subarray(section.offset, section.offset + section.size);
  }
  return undefined;
}

/** The text up to the next zero byte. */
export function textAt(raw: Uint8Array, at: number): string {
  const end = raw.indexOf(0, at);
  return new TextDecoder().decode(raw.subarray(at, end < 0 ? raw.length : end));
}
