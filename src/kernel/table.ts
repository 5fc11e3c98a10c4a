// A loop of the balancer's model, done in C++; it asks nothing of the kernel, but only this room may load the addon.
import { addon } from "./addon.ts";

/** As `Fill` of the balancer's model, many times as fast where JavaScript is not optimised. @throws RangeError when columns are not of one length, or a walk never ends */
export function fillTableNatively(
  table: Uint16Array, { numbers, weights, next, skip }: { readonly numbers: Uint16Array; readonly weights: Float64Array; readonly next: Int32Array; readonly skip: Int32Array },
  heaviest: number,
): void {
  addon().fillTable(table, numbers, weights, next, skip, heaviest);
}
