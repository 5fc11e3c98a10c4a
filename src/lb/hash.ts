// Two independent numbers of 32 bits from a text, the same on every node and in every version.

/** FNV-1a from two starts, each mixed once more (MurmurHash3's finalizer), because texts that differ in their last letter are the rule here. */
export function hashPair(text: string): readonly [number, number] {
  let [a, b] = [0x811c9dc5, 0x5bd1e995];
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    a = Math.imul(a ^ code, 0x01000193);
    b = Math.imul(b ^ code, 0x01000193) + 0x9e3779b9;
  }
  return [mixed(a), mixed(b)];
}

function mixed(value: number): number {
  let x = value;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
