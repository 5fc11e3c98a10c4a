// What services' backends were sent, and whose connections conntrack knows.
import { decodePerCpu, u32 } from "../abi/codec.ts";
import type { Codec } from "../abi/codec.ts";
import { CtFlags, lbCountersCodec, LbLayout, maps } from "../abi/generated.ts";
import type { Ct4, Ct6, LbCounters } from "../abi/generated.ts";
import type { KernelMap } from "../kernel/types.ts";
import { ip4FromNumber } from "../std/ip.ts";
import type { Ip } from "../std/ip.ts";
import type { BackendEntry } from "./lb-backends.ts";
import type { FrontendEntry } from "./lb-frontends.ts";
import type { BackendSent, TrackedFlows, TrafficReading } from "./types.ts";

export interface TrafficSurroundings {
  readonly mapOf: (name: "hw_lb_counters" | "hw_ct4" | "hw_ct6") => KernelMap;
  readonly jiffies: () => number;
}

export const noTraffic: TrafficReading = { sent: new Map(), tracked: [] };

/** Others have their turns after so many entries. */
const entriesAtOnce = 4096;

/** `backends` by their numbers. Counters are those of the numbers, whoever had them before. */
export async function readTraffic({ mapOf, jiffies }: TrafficSurroundings, backends: ReadonlyMap<number, BackendEntry>, frontends: Iterable<FrontendEntry>): Promise<TrafficReading> {
  if (backends.size === 0) return noTraffic;
  const services = new Map([...frontends].map(({ address, port, protocol, service }) => [`${address} ${port} ${protocol}`, service]));
  const tracked = new Map<string, TrackedFlows>();
  for (const [map, answers] of [[mapOf("hw_ct4"), answersOf4], [mapOf("hw_ct6"), answersOf6]] as const) {
    let count = 0;
    for (const [key, value] of map.entries()) {
      if (++count % entriesAtOnce === 0) await new Promise(setImmediate);
      const answer = answers(key, value, jiffies);
      const service = answer === undefined ? undefined : services.get(`${answer.asked} ${answer.askedPort} ${answer.protocol}`);
      if (answer === undefined || service === undefined) continue;
      const { backend: address, port } = answer;
      const place = `${service} ${address} ${port}`;
      tracked.set(place, { service, address, port, flows: (tracked.get(place)?.flows ?? 0) + 1 });
    }
  }
  return { sent: readSent(mapOf("hw_lb_counters"), backends), tracked: [...tracked.values()] };
}

function readSent(counters: KernelMap, backends: ReadonlyMap<number, BackendEntry>): ReadonlyMap<number, BackendSent> {
  const blocks = Map.groupBy(backends, ([number]) => Math.floor(number / LbLayout.COUNTERS));
  return new Map([...blocks].flatMap(([block, those]) => {
    const perCpu = decodePerCpu(lbCountersCodec, counters.get(u32.encode(block)) ?? new Uint8Array());
    return those.map(([number, { mode }]): [number, BackendSent] => {
      const at = number % LbLayout.COUNTERS;
      const sum = (of: (one: LbCounters) => bigint | undefined): bigint => perCpu.reduce((total, one) => total + (of(one) ?? 0n), 0n);
      return [number, {
        packets: sum(({ sent }) => sent[at]?.packets), bytes: sum(({ sent }) => sent[at]?.bytes),
        begun: sum(({ seen }) => seen[at]?.begun), ended: sum(({ seen }) => seen[at]?.ended), tracked: mode === "LOCAL",
      }];
    });
  }));
}

/** The answering direction of a flow that was answered: who asked for what, and who answers. */
interface Answer {
  readonly asked: Ip;
  readonly askedPort: number;
  readonly backend: Ip;
  readonly port: number;
  readonly protocol: number;
}

type AnswerReader = (key: Uint8Array, value: Uint8Array, jiffies: () => number) => Answer | undefined;

const answered = CtFlags.REPLY | CtFlags.SEEN | CtFlags.NAT;

const answersOf4: AnswerReader = (key, value, jiffies) => {
  if (!isAnswered4(value, jiffies)) return undefined;
  const { saddr, sport, proto } = maps.hw_ct4.key.decode(key);
  const { to } = maps.hw_ct4.value.decode(value);
  return { asked: ip4FromNumber(to.saddr), askedPort: to.sport, backend: ip4FromNumber(saddr), port: sport, protocol: proto };
};

const answersOf6: AnswerReader = (key, value, jiffies) => {
  if (!isAnswered6(value, jiffies)) return undefined;
  const { saddr, sport, proto } = maps.hw_ct6.key.decode(key);
  const { to } = maps.hw_ct6.value.decode(value);
  return to.saddr === null || saddr === null ? undefined : { asked: to.saddr, askedPort: to.sport, backend: saddr, port: sport, protocol: proto };
};

const isAnswered4 = answeredReader(maps.hw_ct4.value);
const isAnswered6 = answeredReader(maps.hw_ct6.value);

/** Two fields of each of up to 200 000 entries, nearly all of which are no service's. */
function answeredReader(codec: Codec<Ct4> | Codec<Ct6>): (value: Uint8Array, jiffies: () => number) => boolean {
  const at = (name: string): number => codec.layout.find((field) => field.name === name)?.offset ?? 0;
  const [flagsAt, expiresAt] = [at("flags"), at("expires")];
  return (value, jiffies) => {
    const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
    return (view.getUint16(flagsAt, true) & (answered | CtFlags.CLOSED)) === answered && ((view.getUint32(expiresAt, true) - jiffies()) | 0) > 0;
  };
}
