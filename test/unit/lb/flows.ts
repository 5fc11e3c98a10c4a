// A million modelled connections through a balancing node: what opens them, what each packet of theirs does, and which of them it breaks.
import { choose, mostPassed, passOn } from "../../../src/lb/choose.ts";
import type { PacketKind, SlotAt } from "../../../src/lb/choose.ts";
import { advance, afterProbes, afterSettling, noBalancing } from "../../../src/lb/plan.ts";
import type { Advance, Balancing } from "../../../src/lb/plan.ts";
import { changedAt, currentOf, previousOf, quietSeconds } from "../../../src/lb/slots.ts";
import type { BackendPlan, Service, ServicePlan, ServingContainer, Slots } from "../../../src/lb/types.ts";
import { generator } from "./random.ts";
import { createRecords } from "./records.ts";
import type { Records } from "./records.ts";

/** How many flows; HAWSER_FLOWS says another number. */
export const howMany = Number(process.env["HAWSER_FLOWS"] ?? 200_000);

export interface Balancer {
  slots: Slots;
  readonly records: Records;
  /** By slot: when a packet of it last went to another backend than the current one, in seconds since the epoch. */
  readonly elsewhere: Map<number, number>;
}

export const balancer = (slots: Slots, records = createRecords()): Balancer => ({ slots, records, elsewhere: new Map() });

/** What a round of packets did. */
export interface Round {
  /** Flows that got to another backend than theirs, which lives. */
  readonly moved: number;
  /** Flows whose backend is gone; they are ended. */
  readonly ended: number;
  /** Packets that backends' nodes passed on. */
  readonly passed: number;
}

/** A service over containers and servers, one balancing node, and flows through it. Time is in milliseconds and passes as the test says. */
export class Traffic {
  readonly service: Service;
  now = 1_750_000_000_000;
  plan: ServicePlan;
  node: Balancer;
  readonly kind: PacketKind;
  /** Containers' nodes have lost what they knew of flows: whoever gets a packet for a container of his takes it for the container's. */
  lost = false;
  /** By flow. */
  readonly #hash: Uint32Array;
  /** Backend's number; 0: not open. */
  readonly #owner: Uint16Array;
  #opened = 0;
  #balancing: Balancing = noBalancing;
  #plans = new Map<number, BackendPlan>();

  constructor(service: Service, containers: readonly ServingContainer[], kind: "stream" | "datagram" = "stream", flows = 2 * howMany) {
    this.service = service;
    this.kind = kind === "stream" ? "goesOn" : "datagram";
    this.#owner = new Uint16Array(flows);
    const random = generator(1);
    this.#hash = Uint32Array.from({ length: flows }, () => random(4_294_967_296));
    this.plan = this.#advanced(service, containers);
    this.node = balancer(this.plan.slots);
  }

  #advanced(service: Service, containers: readonly ServingContainer[]): ServicePlan {
    const step: Advance = advance(this.#balancing, { services: [service], containers, mode: "auto", now: this.now });
    this.#balancing = step.next;
    const plan = step.plans.find(({ family }) => family === 4);
    if (plan === undefined) throw new Error("the service has no plan");
    this.#plans = new Map(plan.backends.map((backend) => [backend.number, backend]));
    return plan;
  }

  /** Who is there changes, `seconds` after the last change. The balancing node follows. */
  change(containers: readonly ServingContainer[], seconds = 1, service = this.service): void {
    this.now += 1000 * seconds;
    this.plan = this.#advanced(service, containers);
    this.node.slots = this.plan.slots;
  }

  /** A probe of a container or server, by its id, and what follows. */
  probe(id: string, passed: boolean, containers: readonly ServingContainer[]): void {
    const ports = new Set(this.#balancing.services.get(this.service.name)?.backends.filter((one) => one.id === id).map(({ port }) => port));
    for (const port of ports) this.#balancing = afterProbes(this.#balancing, [{ service: this.service.name, id, port, passed }], this.now);
    this.change(containers, 1, this.#balancing.services.get(this.service.name)?.service);
  }

  /** Time passes, and the balancing node looks which slots are quiet, and settles them. */
  settle(seconds: number): void {
    this.now += 1000 * seconds;
    const now = Math.floor(this.now / 1000);
    this.#balancing = afterSettling(this.#balancing, () => (slot, since) => now - Math.max(since, this.node.elsewhere.get(slot) ?? 0) >= quietSeconds);
    this.change(this.#balancing.containers, 0);
  }

  /** So many flows end, the oldest ones. */
  end(count: number): void {
    this.#owner.fill(0, 0, count);
  }

  /** What the agent remembers, as if it had been written down and read again. */
  restart(containers: readonly ServingContainer[]): void {
    this.#balancing = structuredClone(this.#balancing);
    this.change(containers);
  }

  /** Opens so many flows; each goes on at once, as a handshake does. Returns how many each backend got, by number. */
  open(count: number, node = this.node): Map<number, number> {
    const got = new Map<number, number>();
    for (let i = 0; i < count; i++) {
      const flow = this.#opened++;
      const to = this.#send(flow, this.kind === "datagram" ? "datagram" : "begins", node, null).to;
      this.#owner[flow] = to;
      this.#send(flow, this.kind, node, this.plan.slots);
      got.set(to, (got.get(to) ?? 0) + 1);
    }
    return got;
  }

  /** Packets that open flows which nobody goes on with, as a flood has them: senders of their own. */
  flood(count: number, random: (limit: number) => number): void {
    for (let i = 0; i < count; i++) {
      const slot = this.node.slots;
      this.#chosen(0x4000_0000 + random(0x3fff_ffff), Math.floor((random(4_294_967_296) * slot.size) / 4_294_967_296), "begins", this.node);
    }
  }

  /**
   * A packet of every open flow, by this node or another. `peers`: the slots as the backends' nodes have them; null: these do not pass on.
   * Flows that were moved or ended are not open any more.
   */
  round(node = this.node, peers: Slots | null = this.plan.slots, keep = false): Round {
    let [moved, ended, passed] = [0, 0, 0];
    for (let flow = 0; flow < this.#opened; flow++) {
      const owner = this.#owner[flow] as number;
      if (owner === 0) continue;
      const sent = this.#send(flow, this.kind, node, peers);
      passed += sent.passed;
      if (sent.to === owner) continue;
      if (this.#plans.has(owner)) moved++;
      else ended++;
      if (!keep) this.#owner[flow] = 0;
    }
    return { moved, ended, passed };
  }

  #send(flow: number, kind: PacketKind, node: Balancer, peers: Slots | null): { readonly to: number; readonly passed: number } {
    const place = (slots: Slots): number => Math.floor(((this.#hash[flow] as number) * slots.size) / 4_294_967_296);
    let to = this.#chosen(flow, place(node.slots), kind, node);
    let passed = 0;
    if (kind !== "goesOn" || peers === null) return { to, passed };
    // A container's node knows its own flows, and a plain server answers whatever it gets.
    while (passed < mostPassed && this.#asks(to) && (this.lost || to !== this.#owner[flow])) {
      const next = passOn(to, at(peers, place(peers)));
      if (!this.#plans.has(next)) break;
      to = next;
      passed++;
    }
    return { to, passed };
  }

  #chosen(flow: number, slot: number, kind: PacketKind, { slots, records, elsewhere }: Balancer): number {
    const slotAt = at(slots, slot);
    const recorded = slotAt.changed === 0 ? 0 : records.find(flow, kind !== "begins");
    const now = Math.floor(this.now / 1000);
    const choice = choose(slotAt, kind, this.#plans.has(recorded) ? { backend: recorded, young: true } : null, now);
    const to = choice.record === 0 || records.record(flow, choice.record) ? choice.to : choice.unrecorded;
    if (slotAt.changed !== 0 && to !== slotAt.current) elsewhere.set(slot, now);
    return to;
  }

  #asks(number: number): boolean {
    return this.#plans.get(number)?.way === "container";
  }

  /** How many open flows each backend has, by number. */
  owners(): Map<number, number> {
    const found = new Map<number, number>();
    for (const owner of this.#owner) if (owner !== 0) found.set(owner, (found.get(owner) ?? 0) + 1);
    return found;
  }
}

function at(slots: Slots, slot: number): SlotAt {
  return { current: currentOf(slots, slot), previous: previousOf(slots, slot), changed: changedAt(slots, slot) };
}

/** How many slots are not settled. */
export function unsettled(slots: Slots): number {
  let count = 0;
  for (let slot = 0; slot < slots.size; slot++) if (changedAt(slots, slot) !== 0) count++;
  return count;
}
