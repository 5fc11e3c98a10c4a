// What the kernel refused, with its errno, the call and the kernel's or the verifier's own words.
import { getSystemErrorMessage, getSystemErrorName } from "node:util";
import { HawserError, messageOf } from "../std/errors.ts";
import type { KernelErrorShape } from "./types.ts";

/** Numbers that callers decide by. The same on every architecture that Node runs on. */
export const errno = {
  ENOENT: 2, ESRCH: 3, E2BIG: 7, EBADF: 9, EBUSY: 16, EEXIST: 17, ENODEV: 19, EINVAL: 22, ENOSPC: 28, ERANGE: 34,
  EPROTONOSUPPORT: 93, EOPNOTSUPP: 95, EAFNOSUPPORT: 97, EADDRNOTAVAIL: 99, ENOBUFS: 105,
} as const;

/** The verifier's log can have megabytes; its end says what was wrong. */
const longestDetail = 64 * 1024;

export class KernelError extends HawserError implements KernelErrorShape {
  readonly errno: number;
  readonly syscall: string;
  readonly detail: string;

  constructor(number: number, syscall: string, detail: string, options?: { readonly cause?: unknown }) {
    const end = detail.length > longestDetail ? `…${detail.slice(-longestDetail)}` : detail;
    super("KERNEL", `${syscall}: ${describe(number)}${end === "" ? "" : `: ${end}`}`, options);
    this.name = "KernelError";
    this.errno = number;
    this.syscall = syscall;
    this.detail = end;
  }
}

/** Whether the kernel answered with one of these numbers. */
export function refusedWith(error: unknown, ...numbers: readonly number[]): error is KernelError {
  return error instanceof KernelError && numbers.includes(error.errno);
}

/** Runs a call into the addon; its errors come out as KernelError. */
export function kernelCall<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw asKernelError(error);
  }
}

/** What the addon or node:fs threw, as KernelError; wrong arguments (TypeError) and anything else stay as they are. */
export function asKernelError(error: unknown): unknown {
  if (error instanceof KernelError || !(error instanceof Error)) return error;
  const { errno: number, syscall, detail, path } = error as Partial<KernelErrorShape> & NodeJS.ErrnoException;
  if (typeof number !== "number" || typeof syscall !== "string") return error;
  return new KernelError(Math.abs(number), syscall, detail ?? path ?? messageOf(error), { cause: error });
}

/** For handles that are TypeScript's own. */
export function closedError(method: string): KernelError {
  return new KernelError(errno.EBADF, method, "the handle is closed");
}

function describe(number: number): string {
  const name = getSystemErrorName(-number);
  // libuv does not know the kernel's inner numbers, such as 524 (ENOTSUPP).
  return name.startsWith("Unknown") ? `errno ${number}` : `${name} (${getSystemErrorMessage(-number)})`;
}
