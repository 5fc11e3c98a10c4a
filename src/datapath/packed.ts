// Entries of a map whose keys are numbers, written many in one call of the kernel's: one for each takes longer than all that is made for it.
import type { Codec } from "../abi/codec.ts";
import type { KernelMap } from "../kernel/types.ts";

export interface Packed<T> {
  /** It stands at the latest after `end`, in the order of calls. */
  put(key: number, value: T): void;
  end(): void;
}

const most = 256;

/** `write`: how a value is laid into bytes that are zero; left out: as the codec has it. @throws as `KernelMap.setPacked`: some of them may stand then */
export function packed<T, V>(map: KernelMap, codec: Codec<V>, write: (view: DataView, at: number, value: T) => void): Packed<T>;
export function packed<T>(map: KernelMap, codec: Codec<T>): Packed<T>;
export function packed<T>(map: KernelMap, { size, write: asCodec }: Codec<T>, write = asCodec): Packed<T> {
  const [keys, values] = [new Uint32Array(most), new Uint8Array(most * size)];
  const view = new DataView(values.buffer);
  let count = 0;
  const end = (): void => {
    const some = count;
    count = 0;
    if (some === 0) return;
    map.setPacked(new Uint8Array(keys.buffer, 0, 4 * some), values.subarray(0, some * size));
    values.fill(0);
  };
  return {
    put: (key, value) => {
      keys[count] = key;
      write(view, count * size, value);
      if (++count === most) end();
    },
    end,
  };
}
