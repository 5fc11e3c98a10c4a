// Loops over the slots of balancers' tables, done in C++; they ask nothing of the kernel, but only this room may load the addon.
import { addon } from "./addon.ts";

/** As `Fill` of the balancer's model, many times as fast where JavaScript is not optimised. @throws RangeError when columns are not of one length, or a walk never ends */
export function fillTableNatively(
  table: Uint16Array, { numbers, weights, next, skip }: { readonly numbers: Uint16Array; readonly weights: Float64Array; readonly next: Int32Array; readonly skip: Int32Array },
  heaviest: number,
): void {
  addon().fillTable(table, numbers, weights, next, skip, heaviest);
}

/** Whether the table has 4 different numbers at most. */
export function isListable(table: Uint16Array): boolean {
  return addon().isListable(table);
}

/** The words of a table of 16 bits a slot; `listed`: of 2, before a list of 4 numbers (`enum hw_lb_form` of bpf/abi/lb.h). @throws RangeError when these are too few */
export function packTable(table: Uint16Array, listed: boolean): Uint8Array {
  return addon().packTable(table, listed);
}
