// Per-device switches below /proc/sys/net, of the network namespace we run in.
import { readFileSync, writeFileSync } from "node:fs";
import { HawserError } from "../std/errors.ts";

/**
 * Sets `net.<family>.conf.<device>.<name>`. A host booted with ipv6.disable=1 has no IPv6 part at all: nothing to switch (R40).
 * @throws HawserError KERNEL naming the switch
 */
export function setSysctl(family: "ipv4" | "ipv6", device: string, name: string, value: number): void {
  const path = `/proc/sys/net/${family}/conf/${device}/${name}`;
  try {
    if (readFileSync(path, "latin1").trim() === String(value)) return;
    writeFileSync(path, String(value));
  } catch (error) {
    if (family === "ipv6" && errnoCode(error) === "ENOENT") return;
    throw new HawserError("KERNEL", `${path} cannot be set to ${value} (${errnoCode(error) ?? "unknown error"}); is /proc/sys writable here?`, {
      cause: error,
    });
  }
}

/** Text of a small file below /proc, /sys or /boot, or undefined when it cannot be read. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return undefined;
  }
}

/** `ENOENT` and its like, from errors of node:fs and node:net. */
export function errnoCode(error: unknown): string | undefined {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : undefined;
}

/** The positive number, from errors of the kernel's handles. */
export function errnoOf(error: unknown): number | undefined {
  const errno = error instanceof Error && "errno" in error ? error.errno : undefined;
  return typeof errno === "number" ? Math.abs(errno) : undefined;
}
