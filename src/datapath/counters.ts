// What the programs counted: packets and bytes by direction and reason.
import { decodePerCpu } from "../abi/codec.ts";
import { directionNames, dropReasonNames, maps, MetricLayout } from "../abi/generated.ts";
import type { KernelMap } from "../kernel/types.ts";
import type { CounterRow } from "./types.ts";

/** Summed over the CPUs; rows of zero are left out. */
export function readCounters(map: KernelMap): CounterRow[] {
  const rows: CounterRow[] = [];
  const { key, value } = maps.hw_metrics;
  for (const [k, v] of map.entries()) {
    const index = key.decode(k);
    const perCpu = decodePerCpu(value, v);
    const packets = perCpu.reduce((sum, counter) => sum + counter.packets, 0n);
    const bytes = perCpu.reduce((sum, counter) => sum + counter.bytes, 0n);
    if (packets === 0n) continue;
    rows.push({
      direction: directionName(Math.floor(index / MetricLayout.METRIC_REASONS)),
      reason: reasonName(index % MetricLayout.METRIC_REASONS),
      packets,
      bytes,
    });
  }
  return rows;
}

/** `from-container` */
export function directionName(value: number): string {
  return spoken(directionNames[value]) ?? `direction-${value}`;
}

/** `invalid-source-ip`; 0 is `forwarded`. */
export function reasonName(value: number): string {
  return value === 0 ? "forwarded" : (spoken(dropReasonNames[value]) ?? `reason-${value}`);
}

function spoken(name: string | undefined): string | undefined {
  return name?.toLowerCase().replaceAll("_", "-");
}
