// R63: the programs with compiled tables decide as the reference evaluator does, for random worlds, policies and packets.
//
//   random policies ─┬─ evaluate ─────────────────────────────────────────────┐
//                    └─ compile ▸ tables ▸ maps ▸ programs ▸ random packets ──┴─ the same verdict, reason, end and rule
//
// HAWSER_PROPERTY_PAIRS says how many (policy, packet) pairs; HAWSER_SEED repeats a run, or with one world a failing case.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import test from "ava";
import { DropReason, dropReasonNames, EventVerdict } from "../../src/abi/generated.ts";
import { createCompiler } from "../../src/policy/compile.ts";
import { evaluate } from "../../src/policy/evaluate.ts";
import { builtinRules } from "../../src/policy/types.ts";
import type { Judgement, PolicyTables, Rule } from "../../src/policy/types.ts";
import type { HostAnswer, HostRequest, HostWorld } from "./policy-host.ts";
import { networkNames, randomFrom } from "./policy-place.ts";
import { describeCase } from "./policy-print.ts";
import { protocolNumber, randomCase, randomWorld } from "./policy-world.ts";
import type { Case, World } from "./policy-world.ts";

const pairs = Number(process.env["HAWSER_PROPERTY_PAIRS"] ?? 20_000);
const firstSeed = Number(process.env["HAWSER_SEED"] ?? Date.now() % 1_000_000_000);
const packetsEach = 200;

/** As the event tells it. */
interface Told {
  readonly verdict: "dropped" | "forwarded" | "audit";
  readonly reason: string;
  readonly end: "in" | "out" | null;
  readonly rule: number;
}

test.serial("R63 the kernel decides as the reference does", async (t) => {
  t.timeout(6 * 3_600_000);
  t.log(`HAWSER_SEED=${firstSeed}, ${pairs} pairs`);
  await using bench = openHost();
  const seen = new Map<string, number>();
  const worlds = Math.ceil(pairs / packetsEach);
  let next = prepare(firstSeed);
  for (let i = 0; i < worlds; i++) {
    const { seed, world, cases, tables, request } = next;
    const answering = bench.ask(request);
    const wanted = cases.map(({ question }) => toldOf(evaluate(world.policies, world.facts, question), tables.rules));
    // The next world is made while the programs run.
    if (i + 1 < worlds) next = prepare(firstSeed + i + 1);
    const answers = await answering;
    cases.forEach((one, n) => {
      const [expected, got] = [wanted[n], toldIn(answers[n])];
      if (expected === undefined || !isSame(expected, got)) {
        t.log(`HAWSER_SEED=${seed} HAWSER_PROPERTY_PAIRS=${packetsEach} shows it again\n${describeCase(world, one, tables.rules)}`);
        t.deepEqual(got, expected);
        throw new Error("the kernel and the reference differ");
      }
      const kind = `${got.verdict} ${got.reason} ${got.rule >= builtinRules.metadata ? "built-in" : got.rule > 0 ? "rule" : ""}`.trim();
      seen.set(kind, (seen.get(kind) ?? 0) + 1);
    });
  }
  t.log([...seen].toSorted().map(([kind, count]) => `${count} × ${kind}`).join("\n"));
  // A run that says nothing of some kind of verdict would prove little.
  for (const kind of ["forwarded", "forwarded  rule", "audit  rule", "dropped POLICY_DENIED rule", "dropped POLICY_DEFAULT_IN", "dropped POLICY_DEFAULT_OUT", "dropped NETWORK_ISOLATED"]) {
    t.true(pairs < 20_000 || (seen.get(kind) ?? 0) > 0, `no packet was ${kind}`);
  }
});

interface Prepared {
  readonly seed: number;
  readonly world: World;
  readonly cases: readonly Case[];
  readonly tables: PolicyTables;
  readonly request: HostRequest;
}

function prepare(seed: number): Prepared {
  const random = randomFrom(seed);
  const world = randomWorld(random);
  const compiler = createCompiler();
  // A container that comes later brings additions to what is in force.
  const before = random.chance(0.5) ? [compiler.compile(world.policies, { ...world.facts, identities: world.facts.identities.slice(0, -1 - random.number(2)) })] : [];
  const tables = compiler.compile(world.policies, world.facts);
  const cases = Array.from({ length: packetsEach }, (_, n) => randomCase(random, world, n));
  return { seed, world, cases, tables, request: { world: hostWorld(world, [...before, tables]), packets: cases.map(({ packet }) => packet) } };
}

function hostWorld({ facts, containers, guests, ports, hostAddresses }: World, tables: readonly PolicyTables[]): HostWorld {
  return {
    betweenNetworks: facts.betweenNetworks === "allow",
    published: facts.published === "allow",
    untilIdentified: facts.untilIdentified === "allow",
    networks: networkNames.map((name, i) => ({ number: i + 1, internal: false, icc: true, ...facts.networks.get(name) })),
    endpoints: [...containers, ...guests].map(({ device, network, identity, ipv4, ipv6, mac }) => ({ device, network, identity, ipv4, ipv6, mac, guest: network === 0 })),
    hostAddresses,
    ports: ports.flatMap(({ port, protocol, to, toPort }) => [to.ipv4, to.ipv6].map((address) => ({ port, protocol: protocolNumber(protocol), address, to: toPort, network: to.network }))),
    tables,
  };
}

const reasons: Readonly<Record<string, number>> = {
  "default:in": DropReason.POLICY_DEFAULT_IN,
  "default:out": DropReason.POLICY_DEFAULT_OUT,
  "between-networks": DropReason.NETWORK_ISOLATED,
  "default:icc": DropReason.ICC_DISABLED,
  "default:published": DropReason.POLICY_PUBLISHED,
  internal: DropReason.INTERNAL_NETWORK,
  "not-identified": DropReason.NOT_IDENTIFIED,
};
const builtins: Readonly<Record<string, number>> = {
  "default:metadata": builtinRules.metadata, "default:host-services": builtinRules.hostServices, "default:local-services": builtinRules.localServices,
};

/** What the kernel is to tell of a flow so judged. */
function toldOf({ verdict, decidedBy, end }: Judgement, rules: readonly Rule[]): Told {
  const dropped = verdict === "deny";
  const name = decidedBy.kind === "rule" ? "" : decidedBy.name;
  const rule = decidedBy.kind === "rule" ? rules.indexOf(decidedBy.rule) + 1 : (builtins[name] ?? 0);
  const reason = !dropped ? DropReason.NONE : rule > 0 ? DropReason.POLICY_DENIED : (reasons[name] ?? -1);
  // A wall is no end's, and neither is what passes because nobody speaks of it.
  const ofEnd = rule > 0 || (dropped && name !== "internal" && name !== "not-identified");
  return { verdict: dropped ? "dropped" : verdict === "audit" ? "audit" : "forwarded", reason: nameOf(reason), end: ofEnd ? end : null, rule };
}

function toldIn(answer: HostAnswer | undefined): Told {
  const event = answer?.event ?? null;
  if (answer === undefined || event === null) throw new Error("the kernel told nothing");
  const verdict = event.verdict === EventVerdict.DROPPED ? "dropped" : event.verdict === EventVerdict.AUDIT ? "audit" : "forwarded";
  // TC_ACT_SHOT
  if ((answer.verdict === 2) !== (verdict === "dropped")) throw new Error(`the program returned ${answer.verdict} and told ${verdict}`);
  return { verdict, reason: nameOf(event.reason), end: event.end === 0 ? null : event.end === 1 ? "out" : "in", rule: event.rule };
}

function nameOf(reason: number): string {
  return reason === DropReason.NONE ? "" : (dropReasonNames[reason] ?? `reason ${reason}`);
}

function isSame(a: Told, b: Told): boolean {
  return a.verdict === b.verdict && a.reason === b.reason && a.end === b.end && a.rule === b.rule;
}

interface Host extends AsyncDisposable {
  ask(request: HostRequest): Promise<readonly HostAnswer[]>;
}

/** One world at a time. */
function openHost(): Host {
  const host = spawn("unshare", ["--net", process.execPath, fileURLToPath(new URL("policy-host.ts", import.meta.url))], {
    stdio: ["ignore", "inherit", "inherit", "ipc"], serialization: "advanced",
  });
  return {
    ask: (request) => new Promise((resolve, reject) => {
      const ended = (code: number | null): void => reject(new Error(`the host ended with ${code}`));
      host.once("exit", ended);
      host.once("message", (reply: { readonly value?: readonly HostAnswer[]; readonly error?: string }) => {
        host.off("exit", ended);
        if (reply.value !== undefined) resolve(reply.value);
        else reject(new Error(reply.error));
      });
      host.send(request);
    }),
    [Symbol.asyncDispose]: async () => {
      const ended = new Promise((resolve) => host.once("exit", resolve));
      host.disconnect();
      await ended;
    },
  };
}
