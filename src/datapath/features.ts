// What this kernel can do for us, found without changing anything.
import { existsSync } from "node:fs";
import { release } from "node:os";
import type { Kernel } from "../kernel/types.ts";
import { cgroupRoot } from "./kernel-facts.ts";

export interface Features {
  /** `uname -r` */
  readonly release: string;
  /** The kernel carries its own BTF. */
  readonly btf: boolean;
  /** TC programs as links (Linux 6.6); clsact filters otherwise. */
  readonly tcx: boolean;
  /** Sockets of the host can be told from containers' (Linux 5.14). */
  readonly netnsCookie: boolean;
  /** A refused bind can say EADDRINUSE instead of EPERM (bpf_set_retval, Linux 5.18). */
  readonly setRetval: boolean;
  /** A cgroup2 hierarchy is mounted. */
  readonly cgroup2: boolean;
  readonly ipv6: boolean;
}

export function probeFeatures(kernel: Kernel): Features {
  return {
    release: release(),
    btf: existsSync("/sys/kernel/btf/vmlinux"),
    tcx: kernel.probeTcx(),
    netnsCookie: kernel.netnsCookie() !== undefined,
    setRetval: isAtLeast(release(), 5, 18),
    cgroup2: hasCgroup2(),
    ipv6: existsSync("/proc/sys/net/ipv6"),
  };
}

/** `6.1.0-18-amd64` is at least 5.18. */
export function isAtLeast(kernelRelease: string, major: number, minor: number): boolean {
  const [ownMajor = 0, ownMinor = 0] = kernelRelease.split(/[.-]/).map(Number);
  return ownMajor > major || (ownMajor === major && ownMinor >= minor);
}

function hasCgroup2(): boolean {
  try {
    cgroupRoot();
    return true;
  } catch {
    return false;
  }
}
