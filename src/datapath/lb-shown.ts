// Services' tables for people: slots one by one, however their table has them.
import { u32 } from "../abi/codec.ts";
import { lbFormNames, lbServiceCodec, lbSlotCodec, maps } from "../abi/generated.ts";
import type { Kernel, KernelMap } from "../kernel/types.ts";
import { rangeAt, slotIn } from "./lb-slots.ts";
import type { SlotRange } from "./lb-slots.ts";

export interface ShownSlot {
  readonly key: { readonly table: number; readonly slot: number };
  readonly value: ReturnType<typeof lbSlotCodec.decode>;
}

/** At most so many slots that say something, of tables that services have. `services`: hw_lb_services. */
export function shownSlots(kernel: Kernel, row: KernelMap, services: KernelMap, limit: number): readonly ShownSlot[] {
  const found: ShownSlot[] = [];
  using pages = openPages(kernel, row);
  for (const range of tablesOf(services)) {
    for (let slot = 0; slot < range.slots; slot++) {
      if (found.length >= limit) return found;
      const word = slotIn(range, slot, pages.word);
      if (word !== 0n) found.push({ key: { table: range.first, slot }, value: lbSlotCodec.decode(new Uint8Array(BigUint64Array.of(word).buffer)) });
    }
  }
  return found;
}

/** What has a table, with its number of slots and its form told apart. */
export function withForm(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withForm);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).flatMap(([name, field]) => {
    if (name !== "slots" || typeof field !== "number" || field === 0) return [[name, withForm(field)]];
    const { slots, form } = rangeAt(0, field);
    return [["slots", slots], ["form", lbFormNames[form] ?? form]];
  }));
}

function tablesOf(services: KernelMap): readonly SlotRange[] {
  const tables = new Map<number, SlotRange>();
  for (const [, value] of services.filled()) {
    const { table, slots } = lbServiceCodec.decode(value);
    const range = rangeAt(table, slots);
    if (range.slots > 0) tables.set(table, range);
  }
  return [...tables.values()].toSorted((a, b) => a.first - b.first);
}

/** Words by their places in the row, of which many that follow each other are asked for. */
function openPages(kernel: Kernel, row: KernelMap): Disposable & { readonly word: (at: number) => bigint } {
  const pages = new Map<number, KernelMap | undefined>();
  const pieces = new Map<number, DataView>();
  const { maxEntries } = maps.hw_lb_slots.inner;
  const length = 1024;
  return {
    word: (at) => {
      const number = Math.floor(at / maxEntries);
      if (!pages.has(number)) {
        const id = row.get(u32.encode(number));
        pages.set(number, id === undefined ? undefined : kernel.openMapById(u32.decode(id)));
      }
      const piece = Math.floor(at / length);
      const held = pieces.get(piece) ?? viewOf(pages.get(number)?.values((piece * length) % maxEntries, length) ?? new Uint8Array(8 * length));
      pieces.set(piece, held);
      return held.getBigUint64(8 * (at % length), true);
    },
    [Symbol.dispose]: () => {
      for (const page of pages.values()) page?.close();
    },
  };
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}
