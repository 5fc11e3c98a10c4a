// How far the programs, set up as an agent sets them up, are from what the kernel's verifier gives up on.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import type { Routing } from "../../../src/datapath/types.ts";
import { advance, noBalancing } from "../../../src/lb/plan.ts";
import { readServices } from "../../../src/lb/read.ts";
import { inOwnHost } from "./namespace.ts";
import type { Case } from "./namespace.ts";
import { routing } from "./other-node.ts";

/** BPF_COMPLEXITY_LIMIT_INSNS in linux/bpf.h, for those who may load programs at all. */
const limit = 1_000_000;

/** With a server that is asked in the node's name. */
const text = 'service: web\nfrontends: ["203.0.113.20:80"]\nbackends: [{ address: "192.0.2.1:80" }]\nmode: snat\nhealth: { kind: none }\n';
const { plans } = advance(noBalancing, { services: readServices([{ file: "web.yaml", text }]), containers: [], mode: "auto", largestTable: 1021, now: Date.now() });

const accepted = (routing: Routing | null, { services = false } = {}): Case => async ({ open }) => {
  await using datapath = await open({ routing, acceleration: "generic" });
  if (services) await datapath.doers.services.do({ kind: "services", plans, before: null });
  const walked = readdirSync("/proc/self/fdinfo").flatMap((fd) => {
    try {
      return [...readFileSync(`/proc/self/fdinfo/${fd}`, "utf8").matchAll(/^verified_insns:\s*(\d+)$/gm)].map((match) => Number(match[1]));
    } catch {
      return []; // the descriptor of the reading itself
    }
  });
  assert.ok(walked.length >= 14, `${walked.length} programs`);
  assert.ok(Math.max(...walked) < limit * 0.75, `one program costs ${Math.max(...walked)} of ${limit} instructions`);
};

await inOwnHost(import.meta.url, {
  "every program is accepted with a quarter of the verifier's patience to spare": accepted(null),
  "the same with other nodes, reached beside the host's stack": accepted(routing),
  "the same with other nodes, reached by the kernel's device": accepted({ ...routing, direct: false }),
  "the same with other nodes, reached by routes": accepted({ ...routing, mode: "native" }),
  "the same with services": accepted(null, { services: true }),
  "the same with services and other nodes, reached beside the host's stack": accepted(routing, { services: true }),
  "the same with services and other nodes, reached by the kernel's device": accepted({ ...routing, direct: false }, { services: true }),
  "the same with services and other nodes, reached by routes": accepted({ ...routing, mode: "native" }, { services: true }),
});
