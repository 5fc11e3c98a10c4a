// What the kernel was built and set up with: tick rate, jiffies, ephemeral ports, cgroup2 mount.
import { readFileSync } from "node:fs";
import { release } from "node:os";
import { gunzipSync } from "node:zlib";
import { HawserError } from "../std/errors.ts";
import type { Log } from "../std/log.ts";
import { readText } from "./sysctl.ts";

const rates = [100, 250, 300, 1000] as const;
const fallbackRate = 250;

/**
 * Jiffies a second: CONFIG_HZ from the kernel's own configuration, else worked out from /proc/timer_list, else the
 * distributions' usual 250. A wrong guess stretches or shortens conntrack's times, nothing else.
 */
export function ticksPerSecond(log: Log): number {
  const configured = configuredRate() ?? rateOf(readText("/proc/timer_list"));
  if (configured === undefined) {
    log.warn("the kernel's tick rate cannot be read; taking 250", { tried: "/proc/config.gz, /boot/config, /proc/timer_list" });
  }
  return configured ?? fallbackRate;
}

function configuredRate(): number | undefined {
  for (const text of [compressedConfig(), readText(`/boot/config-${release()}`), readText(`/lib/modules/${release()}/config`)]) {
    const value = /^CONFIG_HZ=(\d+)$/m.exec(text ?? "")?.[1];
    if (value !== undefined) return Number(value);
  }
  return undefined;
}

function compressedConfig(): string | undefined {
  try {
    return gunzipSync(readFileSync("/proc/config.gz")).toString("latin1");
  } catch {
    return undefined;
  }
}

/** jiffies start 300 seconds before 2^32 (INITIAL_JIFFIES in linux/jiffies.h), so one reading of both clocks tells the rate. */
export function rateOf(timerList: string | undefined): number | undefined {
  const reading = timerList === undefined ? undefined : readingOf(timerList);
  if (reading === undefined) return undefined;
  return rates.find((hz) => Math.abs(reading.jiffies - 2 ** 32 + 300 * hz - reading.seconds * hz) < 10 * hz);
}

/**
 * A clock of jiffies, low 32 bits, as conntrack's `expires` has them. /proc/timer_list gives the exact offset to
 * CLOCK_MONOTONIC (`monotonic`, nanoseconds); without it the offset is off by what the early boot lost, less than a second.
 */
export function jiffiesClock(hz: number, timerList = readText("/proc/timer_list"), monotonic = process.hrtime.bigint): () => number {
  const reading = timerList === undefined ? undefined : readingOf(timerList);
  const offset = reading === undefined ? 2 ** 32 - 300 * hz : reading.jiffies - reading.seconds * hz;
  return () => Math.floor(offset + (Number(monotonic()) / 1e9) * hz) % 2 ** 32;
}

function readingOf(timerList: string): { readonly jiffies: number; readonly seconds: number } | undefined {
  const now = /^now at (\d+) nsecs$/m.exec(timerList)?.[1];
  const all = [...timerList.matchAll(/^jiffies: (\d+)$/gm)].map((match) => Number(match[1]));
  if (now === undefined || all.length === 0) return undefined;
  return { jiffies: Math.max(...all), seconds: Number(now) / 1e9 };
}

/** The host's own ephemeral ports, both ends included. */
export function ephemeralPorts(): { readonly low: number; readonly high: number } {
  const text = readText("/proc/sys/net/ipv4/ip_local_port_range") ?? "32768 60999";
  const [low = 32768, high = 60999] = text.trim().split(/\s+/).map(Number);
  return { low, high };
}

/**
 * Where the host's cgroup2 hierarchy is mounted.
 * @throws HawserError UNSUPPORTED when there is none
 */
export function cgroupRoot(mounts = readText("/proc/self/mounts") ?? ""): string {
  const mounted = mounts.split("\n").map((line) => line.split(" ")).filter((fields) => fields[2] === "cgroup2");
  const path = mounted.at(-1)?.[1];
  if (path === undefined) {
    throw new HawserError("UNSUPPORTED", "no cgroup2 hierarchy is mounted; mount one (mount -t cgroup2 none /sys/fs/cgroup/unified) or set paths.cgroup");
  }
  return path;
}
