// Two CPUs that give new flows ports of the same pool at the same moment (race.bpf.c): each flow of one waits for the other's.
// Runs alone: it needs both cores at the same moment.
//
//   CPU 0 ▸ balancer ┐
//                    ├▸ the same maps: 32 servers with a pool of 16 ports each, of which 14 are taken when both are done
//   CPU 1 ▸ balancer ┘
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { u32 } from "../../../src/abi/codec.ts";
import { LbTranslatedFlags } from "../../../src/abi/generated.ts";
import type { LbTranslated } from "../../../src/abi/generated.ts";
import { advance, noBalancing } from "../../../src/lb/plan.ts";
import { readServices } from "../../../src/lb/read.ts";
import { patience } from "../../lab/run.ts";
import { asker } from "../asker.ts";
import { frame, tcp } from "../packets.ts";
import { compiled } from "./compiled.ts";
import type { Racer, Request } from "./host.ts";
import { gateway, to4, uplink } from "./world.ts";

const [first, ports] = [20_000, 16];
/** As in race.bpf.c; `each`: flows of a side to one service. */
const [services, each] = [32, 7];
const flows = services * each;
const [rounds, enough] = [100, 2000];
/** Runs of the program in a round: some 100 ms, if the other side never comes. */
const turns = 20_000;
const tx = 3;
/** Both sides' CPUs, beside whatever else the machine does. */
const atOnce = ["nice", "-n", "-20", "taskset", "-c"];

interface Side extends AsyncDisposable {
  ask(request: Request): Promise<unknown>;
}

interface Flow {
  readonly name: string;
  /** Which it asked, from 0 on. */
  readonly service: number;
  /** Of its SYN and of its ACK: the port from which the server was asked; NaN: it was not. */
  readonly asked: readonly number[];
}

test.serial("two CPUs at once never give two flows one port, and each flow keeps the one from which it was answered for", async (t) => {
  t.timeout(120_000 * patience);
  const folder = mkdtempSync(join(tmpdir(), "hwt-race-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const object = await compiled("race", folder);
  await using one = await openSide({ object, side: 0 });
  const maps = (await one.ask({ op: "map-ids" })) as Racer["maps"] & {};
  await using other = await openSide({ object, side: 1, maps });
  const { plans } = advance(noBalancing, {
    services: readServices(Array.from({ length: services }, (_, i) => ({ file: `${i}.yaml`, text: textOf(i) }))),
    containers: [], mode: "auto", largestTable: 1021, now: Date.now(),
  });
  t.deepEqual(await one.ask({ op: "plans", plans }), []);
  let [met, answered] = [0, 0];
  for (let round = 0; round < rounds && met < enough; round++) {
    await one.ask({ op: "empty-pools", pools: services, ports });
    for (const map of ["race_ready", "race_turns", "race_results", "hw_lb_pool_states"]) await one.ask({ op: "clear", map });
    const data = frame(gateway, uplink, to4(tcp(2000, 80, "S")));
    await Promise.all([one, other].map(({ ask }, side) => ask({ op: "race", data, times: turns, side: side === 0 ? 0 : 1 })));
    met += await metIn(one);
    const found = await flowsOf(one);
    const wrong = differing(found, (await one.ask({ op: "pools", pools: services, ports })) as readonly (readonly LbTranslated[])[]);
    if (wrong.length > 0) {
      t.deepEqual(wrong, [], `round ${round}`);
      return;
    }
    answered += found.filter(({ asked }) => !asked.some(Number.isNaN)).length;
  }
  t.true(met >= enough, `they met ${met} times: this takes two CPUs`);
  t.true(answered > met, `of ${2 * met} flows ${answered} were answered for`);
});

/** How many flows both sides have sent. */
async function metIn(side: Side): Promise<number> {
  const all = (await side.ask({ op: "dump", map: "race_turns" })) as readonly (readonly [Uint8Array, Uint8Array])[];
  return Math.min(...all.map(([, value]) => new DataView(bytesOf(value)).getUint32(0, true)));
}

/** What is wrong with a round, in sentences. */
function differing(found: readonly Flow[], pools: readonly (readonly LbTranslated[])[]): readonly string[] {
  const owners = new Map<string, string>();
  return found.flatMap(({ name, service, asked: [began = NaN, wentOn] }) => {
    if (Number.isNaN(began)) return [];
    const owner = owners.get(`${service} ${began}`);
    owners.set(`${service} ${began}`, name);
    const entry = pools[service]?.[began - first];
    const told = entry === undefined || (entry.flags & LbTranslatedFlags.USED) === 0 ? "nobody" : `${entry.client ?? ""} ${entry.port}`;
    return [
      ...(owner === undefined ? [] : [`${began} is ${owner}'s and ${name}'s`]),
      ...(wentOn === began ? [] : [`${name} began from ${began} and went on from ${wentOn}`]),
      ...(told === name ? [] : [`${began} was given to ${name}, and the table says ${told}`]),
    ];
  });
}

async function flowsOf(side: Side): Promise<readonly Flow[]> {
  const all = (await side.ask({ op: "dump", map: "race_results" })) as readonly (readonly [Uint8Array, Uint8Array])[];
  return all.map(([key, value]) => {
    const [number, view] = [u32.decode(key), new DataView(bytesOf(value))];
    return {
      name: `10.0.0.${Math.floor(number / flows)} ${2000 + (number % flows)}`, service: Math.floor((number % flows) / each),
      asked: [0, 1].map((which) => (view.getUint32(4 * which, true) === tx ? view.getUint16(8 + 2 * which) : NaN)),
    };
  });
}

function textOf(service: number): string {
  return `service: web${String(service).padStart(2, "0")}\nfrontends: ["203.0.113.${service}:80"]\nbackends: [{ address: "172.16.1.${service + 1}:8080" }]\nhealth: { kind: none }\n`;
}

function bytesOf(value: Uint8Array): ArrayBuffer {
  return Uint8Array.from(value).buffer;
}

/** In a process of its own, on the CPU of its number. */
async function openSide(racer: Racer): Promise<Side> {
  const host: ChildProcess = spawn("unshare", ["--net", ...atOnce, String(racer.side), process.execPath, fileURLToPath(new URL("host.ts", import.meta.url))], {
    stdio: ["ignore", "inherit", "inherit", "ipc"], serialization: "advanced",
  });
  const ask = asker<Request>(host);
  await ask({ op: "load", config: { snatFirst: first, snatPorts: ports }, racer });
  return {
    ask,
    [Symbol.asyncDispose]: async () => {
      const ended = new Promise((resolve) => host.once("exit", resolve));
      host.disconnect();
      await ended;
    },
  };
}
