// The balancer's program at the uplinks before all else: there while there are services, and never in another program's place.
import { errno, refusedWith } from "../kernel/index.ts";
import type { LinkInfo, XdpMode } from "../kernel/types.ts";
import { messageOf } from "../std/errors.ts";
import type { Log } from "../std/log.ts";
import type { Attachments } from "./attachments.ts";
import type { LinkPin } from "./pins.ts";
import type { Tables } from "./tables.ts";
import type { AccelerationSetting } from "./types.ts";
import type { UplinkReading } from "./uplinks.ts";

export const accelerator = "xdp_lb";

export interface Acceleration {
  /** One sentence each, as of the last `sync`. */
  readonly problems: readonly string[];
  /** The same of uplinks that are without it and need not be otherwise. */
  readonly remarks: readonly string[];
  /** Whether there are services and the program is loaded; the next `sync` follows. */
  turn(on: boolean): void;
  /** Nothing is attached, for this reason; null: there is none. */
  fail(why: string | null): void;
  /** `uplinks`: those in use, whose entries stand. `afresh`: what failed is tried again. */
  sync(uplinks: Iterable<UplinkReading>, links: readonly LinkInfo[], afresh: boolean): void;
  /** Whether the pin is one of what is attached now. */
  holds(pin: LinkPin): boolean;
}

export interface AccelerationSurroundings {
  readonly setting: AccelerationSetting;
  readonly attachments: Pick<Attachments, "attach" | "detach" | "rename" | "pinned">;
  /** Devices that have a pin of the program's, whoever made it. */
  readonly pinnedDevices: () => readonly string[];
  readonly uplinks: Tables["uplinks"];
  readonly log: Log;
}

/** What an attempt came to. */
interface Attempt {
  /** Of all that could make another attempt come to something else. */
  readonly of: string;
  readonly name: string;
  readonly attached: boolean;
  /** Why it is not, where that is no choice of ours. */
  readonly why: string | null;
  /** Whether somebody should do something about it. */
  readonly wrong: boolean;
}

export function createAcceleration({ setting, attachments, pinnedDevices, uplinks: table, log }: AccelerationSurroundings): Acceleration {
  const mode: XdpMode = setting === "generic" ? "generic" : "native";
  let attempts = new Map<number, Attempt>();
  let looked = false;
  let on = false;
  let trouble: string | null = null;

  const attach = ({ name, index }: UplinkReading, link: LinkInfo): Pick<Attempt, "attached" | "why" | "wrong"> => {
    const own = attachments.pinned({ program: accelerator, device: name });
    const mine = link.xdp !== null && link.xdp.program === own;
    if (link.xdp !== null && !mine) return { attached: false, why: foreign(name, link.xdp.program), wrong: true };
    // Frames of namespaces next door have no checksums yet, which nobody puts in behind XDP.
    const fits = setting !== "auto" || link.kind !== "veth";
    if (own !== undefined && (!fits || (mine && link.xdp?.mode !== mode))) attachments.detach(accelerator, name, undefined, mode);
    if (!fits) return { attached: false, why: null, wrong: false };
    try {
      // A pin of that name that is not on the device is of one that had the name before.
      attachments.attach(accelerator, name, index, mode, !mine);
      return { attached: true, why: null, wrong: false };
    } catch (error) {
      if (refusedWith(error, errno.EBUSY, errno.EEXIST)) return { attached: false, why: foreign(name, 0), wrong: true };
      return setting === "auto"
        ? { attached: false, why: `${refusal(name, error)}; services are balanced at its ingress`, wrong: false }
        : { attached: false, why: refused(name, mode, error), wrong: true };
    }
  };

  const sync: Acceleration["sync"] = (uplinks, links, afresh) => {
    const byIndex = new Map(links.map((link) => [link.index, link]));
    const after = new Map<number, Attempt>();
    for (const uplink of on && trouble === null && setting !== "off" ? uplinks : []) {
      const link = byIndex.get(uplink.index);
      if (link === undefined) continue;
      const before = attempts.get(uplink.index);
      if (before?.attached === true && before.name !== uplink.name) attachments.rename(accelerator, before.name, uplink.name);
      const of = keyOf(uplink, link);
      // A driver that was asked without need is not asked again and again.
      const stands = before?.of === of && (!afresh || (before.why !== null && !before.wrong));
      const attempt = stands ? before : { of, name: uplink.name, ...attach(uplink, link) };
      after.set(uplink.index, attempt);
      if (attempt.attached && !stands && before?.attached === true && link.xdp === null) log.warn("someone took the balancer's program off an uplink; attached again", { device: uplink.name });
      if (attempt.attached && before?.attached !== true) log.info("services are balanced by XDP", { device: uplink.name, mode });
      if (attempt.why !== null && before?.why !== attempt.why) log[attempt.wrong ? "warn" : "info"]("no XDP at an uplink", { device: uplink.name, why: attempt.why });
    }
    // Nobody sends by a device before it leaves.
    for (const [index, entry] of [...table.entries()]) {
      const accelerated = after.get(index)?.attached === true ? 1 : 0;
      if (entry.accelerated !== accelerated) table.set(index, { ...entry, accelerated });
    }
    const kept = new Set([...after.values()].filter(({ attached }) => attached).map(({ name }) => name));
    const had = afresh || !looked ? pinnedDevices() : [...attempts].filter(([index, { attached }]) => attached && after.get(index)?.attached !== true).map(([, { name }]) => name);
    for (const device of had) {
      if (kept.has(device)) continue;
      attachments.detach(accelerator, device, undefined, mode);
      log.info("no XDP at an uplink any more", { device });
    }
    attempts = after;
    looked = true;
  };

  return {
    get problems() {
      return [...(trouble === null || !on ? [] : [trouble]), ...[...attempts.values()].flatMap(({ why, wrong }) => (wrong && why !== null ? [why] : []))];
    },
    get remarks() {
      return [...attempts.values()].flatMap(({ why, wrong }) => (wrong || why === null ? [] : [why]));
    },
    turn: (now) => void (on = now),
    fail: (why) => void (trouble = why === null ? null : `XDP cannot be used, and services are balanced without: ${why}`),
    sync,
    holds: ({ program, device }) => program === accelerator && [...attempts.values()].some(({ name, attached }) => attached && name === device),
  };
}

function keyOf({ name, mtu }: UplinkReading, { xdp }: LinkInfo): string {
  return `${name} ${mtu} ${xdp?.program ?? ""}`;
}

function foreign(device: string, program: number): string {
  const which = program === 0 ? "another XDP program" : `another XDP program (number ${program}, see \`bpftool prog show id ${program}\`)`;
  return `uplink ${device} has ${which}, which stays; services are balanced there without XDP: take it off (\`ip link set dev ${device} xdp off\`), or set loadBalancer.acceleration: off`;
}

function refused(device: string, mode: XdpMode, error: unknown): string {
  if (mode === "native" && refusedWith(error, errno.EOPNOTSUPP, errno.EINVAL, errno.ERANGE)) {
    return `${refusal(device, error)}; services are balanced there without: set loadBalancer.acceleration: auto, or see what the driver asks for (MTU, LRO; of virtio devices \`hawser doctor\` tells)`;
  }
  return `uplink ${device}: XDP could not be attached (${messageOf(error)}); services are balanced there without`;
}

function refusal(device: string, error: unknown): string {
  return `uplink ${device}: its driver takes no XDP program as it is (${messageOf(error)})`;
}
