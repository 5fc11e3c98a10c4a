// How many entries a map holds, which the kernel does not tell.
import type { KernelMap } from "../kernel/types.ts";

const entriesAtOnce = 4096;

/** With turns for others in between: there may be a hundred thousand. Arrays count as full, rings as empty. */
export async function countEntries(map: KernelMap): Promise<number> {
  if (map.info.kind === "ringbuf" || map.info.kind === "sk_storage") return 0;
  if (map.info.kind === "array" || map.info.kind === "percpu_array") return map.info.maxEntries;
  let count = 0;
  for (const _ of map.entries()) if (++count % entriesAtOnce === 0) await new Promise(setImmediate);
  return count;
}
