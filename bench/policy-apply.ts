// How long a change of policy takes from the call of the agent's API until a packet at each of 50 containers is judged by it (R118).
// The agent is a process of its own, with the flags that bin/hawser gives it; the probes are packets through its program and its maps.
// Prints a table and writes build/bench/policy-apply.json. Options: --changes N (150) of each case, --pause MILLISECONDS between them (20).
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { connect } from "../src/api/client.ts";
import type { ApiClient } from "../src/api/types.ts";
import type { WrittenDocument as Document } from "../src/engine/types.ts";
import { inPrivateHost, root, run } from "./run.ts";
import { openProbes, probePort } from "./policy-probe.ts";
import type { Probes } from "./policy-probe.ts";
import { quantile, shown, summary, table } from "./summary.ts";


interface Case {
  readonly name: string;
  /** What stands before. */
  readonly before: readonly Document[];
  /** What is applied at each change, from 1; the odd ones let probes pass, the even ones refuse them. */
  readonly documents: (change: number) => readonly Document[];
  /** What R118 allows its 99th percentile, in milliseconds. */
  readonly goal: number;
}

const containers = 50;

const one = (change: number): readonly Document[] => [document("p0", sentences(0, 249), change)];
const cases: readonly Case[] = [
  { name: "1 policy of 250 rules, rewritten", goal: 600, before: one(0), documents: one },
  { name: "1 of 250 policies", goal: 600, before: policies(250, 0), documents: (change) => [document("p0", [], change)] },
  { name: "250 policies, every one changed", goal: 600, before: policies(250, 0), documents: (change) => policies(250, change) },
  { name: "500 policies, every one changed", goal: 3000, before: policies(500, 0), documents: (change) => policies(500, change) },
];

await inPrivateHost(import.meta.url, async () => {
  const { values } = parseArgs({ options: { changes: { type: "string", default: "150" }, pause: { type: "string", default: "20" } } });
  run("mount -t tmpfs bench /run");
  run("ip link set lo up");
  const [folder, socket] = [join(root, "build/bench/policy-apply-state"), "/run/hawser.sock"];
  rmSync(folder, { recursive: true, force: true });
  const agent = fork(join(root, "bench/policy-agent.ts"), [socket, join(folder, "state.db"), String(containers)], { execArgv: [...agentFlags()] });
  try {
    const [message] = await Promise.race([once(agent, "message"), once(agent, "exit")]);
    if (message !== "ready") throw new Error(`the agent ended: ${message}`);
    using client = await connect(socket);
    await using probes = await openProbes(await client.endpoints());
    const rows = [];
    for (const { name, goal, before, documents } of cases) {
      await client.applyPolicy({ documents: before, strict: true });
      const { enforced, answered } = await measured(documents, client, probes, Number(values.changes), Number(values.pause));
      rows.push({ name, goal, p50: quantile(enforced, 0.5), p99: quantile(enforced, 0.99), enforced: summary(enforced), answered: { ...summary(answered), p99: quantile(answered, 0.99) } });
    }
    console.log(table([
      [`${containers} containers; ms`, "enforced everywhere p50", "p99", "lowest…highest", "the call's answer p50", "p99", "goal for p99"],
      ...rows.map((row) => [row.name, row.p50.toFixed(0), row.p99.toFixed(0), shown(row.enforced), row.answered.median.toFixed(0), row.answered.p99.toFixed(0), `${row.goal} ${row.p99 <= row.goal ? "kept" : "MISSED"}`]),
    ]));
    mkdirSync(join(root, "build/bench"), { recursive: true });
    writeFileSync(join(root, "build/bench/policy-apply.json"), `${JSON.stringify({ kernel: release(), node: process.version, flags: agentFlags(), containers, changes: Number(values.changes), rows }, null, 2)}\n`);
  } finally {
    const ended = agent.exitCode === null ? once(agent, "exit") : undefined;
    if (agent.connected) agent.disconnect();
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
});

interface Samples {
  /** Milliseconds until the last container was judged anew, and until the call was answered. */
  readonly enforced: number[];
  readonly answered: number[];
}

async function measured(documentsOf: Case["documents"], client: ApiClient, probes: Probes, changes: number, pause: number): Promise<Samples> {
  const samples: Samples = { enforced: [], answered: [] };
  for (let change = 1; change <= changes; change++) {
    const documents = documentsOf(change);
    const begin = performance.now();
    const answer = client.applyPolicy({ documents, strict: true }).then(() => performance.now() - begin);
    const end = await probes.everywhere(change % 2 === 1, AbortSignal.timeout(30_000));
    samples.enforced.push(end - begin);
    samples.answered.push(await answer);
    await setTimeout(pause);
  }
  return samples;
}

/** Probes meet policy p0; the other rules are only carried along. */
function document(name: string, allow: readonly string[], change: number): Document {
  const probe = name === "p0" ? [`self -> self:${probePort}/udp`] : [];
  const passes = change % 2 === 1;
  const list = (key: string, rules: readonly string[]): string => (rules.length === 0 ? "" : `${key}:\n${rules.map((rule) => `  - ${rule}\n`).join("")}`);
  const lists = list("allow", passes ? [...probe, ...allow] : allow) + list("deny", passes ? [] : probe);
  return { file: `${name}.yaml`, text: `policy: ${name}\nfor: { network: bench }\ndefault: { in: deny }\n${lists}` };
}

/** One rule each, with another port at every change. */
function policies(count: number, change: number): readonly Document[] {
  return Array.from({ length: count }, (_, i) => document(`p${i}`, i === 0 ? [] : sentences(i + change, 1), change));
}

function sentences(first: number, count: number): readonly string[] {
  return Array.from({ length: count }, (_, i) => first + i).map((at) => `s${at % containers} -> s${(at * 7 + 3) % containers}:${8000 + (at % 1000)}`);
}

/** Node's flags for an agent, as bin/hawser has them. */
function agentFlags(): readonly string[] {
  const found = /set -- (--\S+(?: --\S+)*) "\$@"/.exec(readFileSync(join(root, "bin/hawser"), "utf8"))?.[1];
  if (found === undefined) throw new Error("bin/hawser does not say any more with which flags an agent runs");
  return found.split(" ");
}
