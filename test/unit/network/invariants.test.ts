// Whatever Docker asks in whatever order: nobody shares an address, a MAC, a device or a port, and making is undone by removing.
import test from "ava";
import fc from "fast-check";
import { createEndpoint } from "../../../src/network/create-endpoint.ts";
import { createNetwork } from "../../../src/network/create-network.ts";
import { deleteEndpoint } from "../../../src/network/delete-endpoint.ts";
import { deleteNetwork } from "../../../src/network/delete-network.ts";
import { join } from "../../../src/network/join.ts";
import { leave } from "../../../src/network/leave.ts";
import { desired } from "../../../src/network/plan.ts";
import { publishPorts } from "../../../src/network/publish-ports.ts";
import { reconcile } from "../../../src/network/reconcile.ts";
import { releaseAddress } from "../../../src/network/release-address.ts";
import { releasePool } from "../../../src/network/release-pool.ts";
import { requestAddress } from "../../../src/network/request-address.ts";
import { requestPool } from "../../../src/network/request-pool.ts";
import { revokePorts } from "../../../src/network/revoke-ports.ts";
import type { Context, Decision, EndpointId, NetworkId, State, Step } from "../../../src/network/types.ts";
import { emptyState } from "../../../src/network/types.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { contains, addressOf } from "../../../src/std/ip.ts";
import { context, dual, endpoint, endpointId, joining, network, networkId, noon, pool, poolId, port, printSteps } from "./world.ts";

type Move = (state: State, context: Context) => Decision<unknown>;

/** A move that a failing run can print. */
const named = (text: string, move: Move): Move => Object.assign(move, { [fc.toStringMethod]: () => text });

const net = fc.integer({ min: 0, max: 2 });
const end = fc.integer({ min: 0, max: 5 });
const host = fc.integer({ min: 0, max: 7 });
const netIds: readonly NetworkId[] = ["a1", "b2", "c3"].map(networkId);
const endIds: readonly EndpointId[] = ["1", "2", "3", "4", "5", "6"].map(endpointId);
const netAt = (i: number): NetworkId => netIds[i] ?? networkId("ff");
const endAt = (i: number): EndpointId => endIds[i] ?? endpointId("ff");
const portTexts = ["8080:80", "127.0.0.1:8080:80", "8080:81/udp", "8081:80", ":80", ":81", "8080-8083:82", "[::1]:8080:80", "192.0.2.10:8080:83", "[2001:db8::10]:8080:80"];

const createNet = (n: number): Move => named(`create network ${n}`, (s, c) => createNetwork(s, network({
  id: netAt(n), ...(n === 2 ? {} : { ...dual, ipv6: [{ pool: `fd5${n}::/64`, gateway: `fd5${n}::1/64`, aux: {} }] }),
  ipv4: [{ pool: `10.5${n}.0.0/29`, gateway: `10.5${n}.0.1/29`, aux: {} }], internal: n === 1,
}), c));
/** Wherever the endpoint is; mostly what Docker says, and now and then nonsense. */
const refOf = (s: State, e: number) => ({ id: endAt(e), network: s.endpoints.get(endAt(e))?.network ?? netAt(0) });

/** Mostly moves that get far: containers start and publish more often than anything ends. */
const moves: fc.Arbitrary<Move> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(net, end, host, fc.boolean()).map(([n, e, h, six]) => named(`create ${e} on ${n} with ${h}${six ? " and IPv6" : ""}`, (s, c) =>
    createEndpoint(s, endpoint({ id: endAt(e), network: netAt(n), ipv4: `10.5${n}.0.${h}/29`, ipv6: six ? `fd5${n}::${h}/64` : null }), c))) },
  { weight: 8, arbitrary: fc.tuple(end, fc.integer({ min: 0, max: 2 })).map(([e, box]) => named(`join ${e} to box ${box}`, (s, c) => join(s, joining({ ...refOf(s, e), sandboxKey: `/box/${box}` }), c))) },
  { weight: 10, arbitrary: fc.tuple(end, fc.subarray(portTexts, { maxLength: 3 })).map(([e, ports]) => named(`publish ${ports.join(" ")} of ${e}`, (s, c) => publishPorts(s, { ...refOf(s, e), ports: ports.map(port) }, c))) },
  { weight: 1, arbitrary: fc.tuple(net, end).map(([n, e]) => named(`publish again ${e} on ${n}`, (s, c) => publishPorts(s, { id: endAt(e), network: netAt(n), ports: null }, c))) },
  { weight: 1, arbitrary: net.map(createNet) },
  { weight: 1, arbitrary: net.map((n) => named(`delete network ${n}`, (s) => deleteNetwork(s, netAt(n)))) },
  { weight: 2, arbitrary: end.map((e) => named(`delete ${e}`, (s) => deleteEndpoint(s, refOf(s, e)))) },
  { weight: 2, arbitrary: end.map((e) => named(`leave ${e}`, (s) => leave(s, refOf(s, e)))) },
  { weight: 2, arbitrary: end.map((e) => named(`revoke ${e}`, (s) => revokePorts(s, refOf(s, e)))) },
  { weight: 1, arbitrary: fc.tuple(fc.subarray([0, 1, 2]), fc.subarray([0, 1, 2, 3, 4, 5])).map(([ns, es]) => named(`reconcile networks ${ns.join()} endpoints ${es.join()}`, (s, c) => reconcile(s, {
    networks: ns.map((n) => ({ id: netAt(n), name: `net${n}`, endpoints: es.map((e) => ({ id: endAt(e), container: { id: `c${e}`, name: `box${e}`, labels: {} } })) })),
  }, c))) },
);
const opening: readonly Move[] = [0, 1, 2].map(createNet);

/** What the kernel would hold after these steps: each thing made and not removed. */
function replay(world: ReadonlySet<string>, steps: readonly Step[]): ReadonlySet<string> {
  const next = new Set(world);
  printSteps(steps).forEach((line, i) => {
    const [kind = "", ...rest] = line.split(" ");
    const thing = rest.join(" ");
    const opposite: Readonly<Record<string, string>> = { removeNetwork: "network", removeCable: "cable", detach: "attach", removeEndpoint: "endpoint", removePort: "port" };
    if (kind === "claimPort") return;
    const made = opposite[kind];
    if (made === undefined) {
      // A network is made again once its name is known.
      if (next.has(`${kind} ${thing}`) && kind !== "network") throw new Error(`step ${i} makes twice: ${line}`);
      next.add(`${kind} ${thing}`);
    } else if (!next.delete(`${made} ${thing}`)) throw new Error(`step ${i} removes what is not there: ${line}`);
  });
  return next;
}

function collisions(state: State): readonly string[] {
  const seen = new Set<string>();
  const found: string[] = [];
  const claim = (what: string): void => {
    if (seen.has(what)) found.push(`twice: ${what}`);
    seen.add(what);
  };
  const numbers = [...state.networks.values()].map((one) => `network ${one.number}`);
  for (const number of numbers) claim(number);
  const ports: string[] = [];
  for (const one of state.endpoints.values()) {
    const home = state.networks.get(one.network);
    if (!home) found.push(`homeless: ${one.id}`);
    claim(one.hostInterface);
    claim(`${one.network} ${one.mac}`);
    for (const [ours, subnet] of [[one.ipv4, home?.ipv4], [one.ipv6, home?.ipv6]] as const) {
      if (!ours) continue;
      claim(addressOf(ours));
      if (!subnet || !contains(subnet.prefix, addressOf(ours)) || subnet.gateway === addressOf(ours)) found.push(`misplaced: ${ours}`);
    }
    for (const open of one.ports) {
      const any = open.hostIp.includes(":") ? "::" : "0.0.0.0";
      claim(`${open.protocol} ${open.hostIp} ${open.hostPort}`);
      ports.push(`${open.protocol} ${open.hostPort} ${any} ${open.hostIp === any ? "any" : "one"}`);
      if (!one.joined) found.push(`published without being joined: ${one.id}`);
    }
  }
  for (const line of ports) {
    if (line.endsWith("one") && ports.includes(line.replace(/one$/, "any"))) found.push(`overlapping: ${line}`);
  }
  return found;
}

test("random requests never make two share an address, a MAC, a device or a port, and the host is always what the state says", (t) => {
  const property = fc.property(fc.array(fc.tuple(moves, fc.nat({ max: 10_000 }), fc.double({ min: 0, max: 0.999, noNaN: true })), { maxLength: 80, size: "max" }), (script) => {
    let state = emptyState;
    let world: ReadonlySet<string> = new Set();
    let now = noon;
    for (const [move, ms, chance] of [...opening.map((first) => [first, 0, 0] as const), ...script]) {
      now += ms;
      try {
        const { next, steps } = move(state, { ...context, now, random: () => chance });
        world = replay(world, steps);
        state = next;
      } catch (error) {
        if (!(error instanceof HawserError) || error.code === "INTERNAL") throw error;
      }
      const found = collisions(state);
      if (found.length > 0) throw new Error(found.join("; "));
    }
    const told = printSteps(desired(state)).toSorted();
    if (told.join("\n") !== [...world].toSorted().join("\n")) throw new Error(`the host differs:\n${told.join("\n")}\n--\n${[...world].toSorted().join("\n")}`);
  });
  t.notThrows(() => fc.assert(property, { numRuns: 800 }));
});

test("making and removing returns to the same state, and the steps cancel out", (t) => {
  const property = fc.property(fc.array(moves, { maxLength: 25, size: "max" }), fc.subarray(portTexts), (script, ports) => {
    let state = emptyState;
    for (const move of [...opening, ...script]) {
      try {
        state = move(state, context).next;
      } catch (error) {
        if (!(error instanceof HawserError)) throw error;
      }
    }
    const id = endpointId("eee");
    const home = networkId("eee");
    const ref = { id, network: home };
    const first = replay(new Set(printSteps(desired(state))), []);
    const forth: readonly Move[] = [
      (s, c) => createNetwork(s, network({ id: home, ipv4: [{ pool: "10.99.0.0/24", gateway: "10.99.0.1", aux: {} }] }), c),
      (s, c) => createEndpoint(s, endpoint({ id, network: home, ipv4: "10.99.0.2/24" }), c),
      (s) => join(s, joining(ref), context),
    ];
    const back: readonly Move[] = [(s) => revokePorts(s, ref), (s) => leave(s, ref), (s) => deleteEndpoint(s, ref), (s) => deleteNetwork(s, home)];
    let world = first;
    let now = state;
    const step = (move: Move): void => {
      const { next, steps } = move(now, context);
      world = replay(world, steps);
      now = next;
    };
    for (const move of forth) step(move);
    try {
      step((s, c) => publishPorts(s, { ...ref, ports: ports.map(port) }, c));
    } catch (error) {
      if (!(error instanceof HawserError)) throw error;
    }
    for (const move of back) step(move);
    const same = [...world].toSorted().join("\n") === [...first].toSorted().join("\n");
    return same && JSON.stringify([...now.endpoints], null) === JSON.stringify([...state.endpoints], null) && now.networks.size === state.networks.size;
  });
  t.notThrows(() => fc.assert(property, { numRuns: 300 }));
});

test("no address of a pool is given twice, whatever is asked for and freed", (t) => {
  const id = poolId("10.50.0.0/28");
  const act = fc.tuple(fc.constantFrom("any", "gateway", "named", "free"), fc.integer({ min: 0, max: 15 }));
  const property = fc.property(fc.array(act, { maxLength: 80 }), (script) => {
    let state = requestPool(emptyState, pool({ pool: id }), context).next;
    const held = new Set<string>();
    for (const [kind, last] of script) {
      const address = `10.50.0.${last}`;
      try {
        if (kind === "free") {
          state = releaseAddress(state, { pool: id, address }).next;
          held.delete(`${address}/28`);
          continue;
        }
        const asked = { pool: id, address: kind === "named" ? address : "", purpose: kind === "gateway" ? "gateway" : "endpoint" } as const;
        const { next, reply } = requestAddress(state, asked, context);
        if (held.has(reply) || reply === "10.50.0.0/28" || reply === "10.50.0.15/28") return false;
        held.add(reply);
        state = next;
      } catch (error) {
        if (!(error instanceof HawserError)) throw error;
        if (error.code === "NO_FREE_ADDRESS" && held.size < 14) return false;
      }
    }
    return Object.keys(state.pools.get(id)?.allocated ?? {}).length === held.size;
  });
  t.notThrows(() => fc.assert(property, { numRuns: 300 }));
});

test("no two pools overlap, whatever is asked for and released", (t) => {
  const act = fc.tuple(fc.constantFrom("", "10.44.0.0/20", "10.44.0.64/27", "10.44.3.0/24", "10.60.0.0/24"), fc.boolean());
  const property = fc.property(fc.array(act, { maxLength: 30 }), (script) => {
    let state = emptyState;
    for (const [text, release] of script) {
      try {
        state = release ? releasePool(state, [...state.pools.keys()][0] ?? poolId("none")).next : requestPool(state, pool({ pool: text }), context).next;
      } catch (error) {
        if (!(error instanceof HawserError)) throw error;
      }
      const all = [...state.pools.values()].map((one) => one.prefix);
      if (all.some((a, i) => all.some((b, j) => i < j && (contains(a, b) || contains(b, a))))) return false;
    }
    return true;
  });
  t.notThrows(() => fc.assert(property, { numRuns: 200 }));
});
