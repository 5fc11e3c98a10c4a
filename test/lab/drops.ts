// What a host's programs dropped, by reason, and how a scenario states what it expected.
import type { Host } from "./host.ts";
import { driver } from "./names.ts";

/** Reason → packets, without reasons that count nothing. */
export type Drops = Readonly<Record<string, number>>;

/** At least one packet. */
export const some = "some";

/**
 * Chatter that any Linux container or device makes by itself (MLD reports, router solicitations, a host's ARP), whose number
 * no test can foretell. A scenario that means one of them names it.
 */
const chatter: ReadonlySet<string> = new Set(["MULTICAST", "IPV6_OFF", "FROM_HOST_UNKNOWN_PROTOCOL"]);

/** Reads the `counters` of `hawser status -o json`. */
export function decodeDrops(text: string): Drops {
  const status: unknown = JSON.parse(text);
  const counters = typeof status === "object" && status !== null ? (status as Record<string, unknown>)["counters"] : undefined;
  if (!Array.isArray(counters)) throw new Error("`hawser status -o json` has no counters");
  const drops: Record<string, number> = {};
  for (const counter of counters as readonly Record<string, unknown>[]) {
    const reason = String(counter["reason"]).toUpperCase().replaceAll("-", "_").replace(/^HW_DROP_/, "");
    const packets = Number(counter["packets"]);
    const named = counter["direction"] === "from-host" && reason === "UNKNOWN_PROTOCOL" ? "FROM_HOST_UNKNOWN_PROTOCOL" : reason;
    // EVENT_LOST counts reports that nobody read, each of a drop that is counted by its own reason.
    if (reason === "NONE" || reason === "FORWARDED" || reason === "EVENT_LOST" || packets === 0) continue;
    drops[named] = (drops[named] ?? 0) + packets;
  }
  return drops;
}

/** @throws Error when other reasons counted, or other numbers, than expected since `before`. */
export async function expectDrops(host: Host, before: Drops, expected: Readonly<Record<string, number | typeof some>>): Promise<void> {
  if (driver !== "hawser") return;
  const now = await host.drops();
  const wrong: string[] = [];
  for (const reason of new Set([...Object.keys(now), ...Object.keys(expected)])) {
    const counted = (now[reason] ?? 0) - (before[reason] ?? 0);
    const wanted = expected[reason];
    if (wanted === undefined ? counted > 0 && !chatter.has(reason) : wanted === some ? counted < 1 : counted !== wanted) {
      wrong.push(`${reason}: ${counted} dropped, ${wanted ?? "none"} expected`);
    }
  }
  if (wrong.length > 0) throw new Error(`the drops of ${host.name} are not those expected: ${wrong.join("; ")}`);
}
