// R63: compiled tables, looked up as the kernel does, say what the reference says; without a kernel, for every port and ICMP message.
import test from "ava";
import { protocolNumbers } from "../../../src/policy/flatten.ts";
import { compile } from "../../../src/policy/compile.ts";
import { evaluate } from "../../../src/policy/evaluate.ts";
import { builtinRules } from "../../../src/policy/types.ts";
import type { Direction, End, Judgement, PacketQuestion, PolicyTables, Protocol, Rule } from "../../../src/policy/types.ts";
import { randomFrom } from "../../packet/policy-place.ts";
import type { Random } from "../../packet/policy-place.ts";
import { interesting } from "../../packet/policy-random.ts";
import { randomWorld, stranger } from "../../packet/policy-world.ts";
import type { Somebody, World } from "../../packet/policy-world.ts";
import { lookUp } from "./lookup.ts";

const builtins: Readonly<Record<string, number>> = {
  "default:metadata": builtinRules.metadata, "default:host-services": builtinRules.hostServices, "default:local-services": builtinRules.localServices,
};
const messages = [0, 0x0300, 0x0304, 0x0800, 0x0801, 0x0d00, 0x2800, 0x2803, 0x0100, 0x8000, 0x8001, 0x8100, 0x8b00, 0x9600, 0xffff];

for (const seed of [1, 2, 3, 4]) {
  test(`R63 the tables of random policies say what the reference says, from seed ${seed}`, (t) => {
    const random = randomFrom(seed);
    let ruled = 0;
    for (let i = 0; i < 15; i++) {
      const { policies, facts, containers } = randomWorld(random);
      const tables = compile(policies, facts);
      // Walls and defaults are no part of the tables.
      const open = { ...facts, betweenNetworks: "allow" as const, published: "allow" as const, networks: new Map() };
      const bare = policies.map((policy) => ({ ...policy, defaults: { in: null, out: null } }));
      const known = containers.filter(({ identity }) => identity !== 0);
      for (let n = 0; n < 150; n++) {
        const [question, sender, receiver] = randomQuestion(random, known, { hostAddresses: facts.host });
        const expected = ruleOf(evaluate(bare, open, question), tables.rules);
        const got = ruleIn(tables, question, sender, receiver);
        if (got !== 0) ruled++;
        if (got !== expected) t.is(got, expected, `rule ${got}, not ${expected}, for ${JSON.stringify(question)}`);
      }
    }
    t.true(ruled > 100, "rules spoke of too little to prove anything");
  });
}

type Who = Somebody | null;

function randomQuestion(random: Random, containers: readonly Somebody[], { hostAddresses }: Pick<World, "hostAddresses">): readonly [PacketQuestion, Who, Who] {
  const protocol = random.pick<Protocol>(["tcp", "tcp", "udp", "sctp", "icmp", "icmpv6"]);
  const port = protocol.startsWith("icmp") ? random.pick(messages) : random.pick([...interesting, random.number(65536)]);
  const outside = (): End => ({ identity: null, address: random.chance(0.3) ? random.pick(hostAddresses) : stranger(random, random.pick([4, 6])) });
  const sender = random.chance(0.7) ? random.pick(containers) : null;
  const receiver = sender === null || random.chance(0.6) ? random.pick(containers) : null;
  const end = (who: Who): End => (who === null ? outside() : { identity: who.labels, address: who.ipv4 });
  return [{ from: end(sender), to: end(receiver), protocol, port, published: false }, sender, receiver];
}

/** The number of the rule that decides, and 0 for none. */
function ruleOf({ decidedBy }: Judgement, rules: readonly Rule[]): number {
  return decidedBy.kind === "rule" ? rules.indexOf(decidedBy.rule) + 1 : (builtins[decidedBy.name] ?? 0);
}

/** Deny at either end, then audit, then allow; out before in. */
function ruleIn(tables: PolicyTables, { from, to, protocol, port }: PacketQuestion, sender: Who, receiver: Who): number {
  const ends = [["out", sender, receiver?.identity ?? to.address], ["in", receiver, sender?.identity ?? from.address]] as const;
  const said = ends.flatMap(([direction, subject, peer]: readonly [Direction, Who, number | End["address"]]) =>
    (subject === null || peer === null ? [] : [lookUp(tables, subject.identity, peer, direction, protocolNumbers[protocol ?? "tcp"], port ?? 0)]));
  for (const verdict of ["deny", "audit", "allow"]) {
    const one = said.find((entry) => entry.verdict === verdict);
    if (one !== undefined) return one.rule;
  }
  return 0;
}
