// What an agent holds resident: it starts once and stays for months, so what only its start needed is given back.
import type { Kernel } from "../kernel/types.ts";
import type { Duty } from "./rounds.ts";

/** Bytes that may come back before they are given back again: what an idle agent uses comes back at once, and stays. */
const growth = 16 * 2 ** 20;

/** Trims the process whenever it has grown by 16 MiB since it was trimmed, and the first time it is asked. */
export function stayLean(kernel: Pick<Kernel, "trim">, resident: () => number = process.memoryUsage.rss): Duty {
  let least = 0;
  return {
    name: "give memory back",
    run: async () => {
      if (resident() < least + growth) return;
      kernel.trim();
      least = resident();
    },
  };
}
