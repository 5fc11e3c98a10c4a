// Policy as users set it: files through the command line and in the watched folder, and what `observe` tells of it.
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import type { ExecutionContext, TestFn } from "ava";
import { parse, stringify } from "yaml";
import type { Host } from "./host.ts";
import type { Place } from "./place.ts";
import { waitFor, type Output } from "./run.ts";
import { scene, type Scene } from "./scenario.ts";

type Keys = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export interface PolicyRow {
  readonly name: string;
  readonly source: string;
  readonly revision: number;
  readonly rules: number;
  readonly endpoints: number;
  readonly state: string;
  readonly error: string | null;
}

export interface PolicyScene extends Scene {
  /** The folder that the agent watches. */
  readonly directory: string;
  /** `policy apply` of a file with this text. @throws CommandFailed */
  apply(text: string, file?: string): Promise<Output>;
  /** The same, for what should be refused. */
  applyOutput(text: string, ...options: readonly string[]): Promise<Output>;
  policies(): Promise<readonly PolicyRow[]>;
  /** Writes a file in the watched folder as an editor does: whole, by a rename. */
  drop(file: string, text: string): void;
  /** Runs `work` with other configuration; the agent is restarted before and after it. */
  configured(keys: Keys, work: () => Promise<void>): Promise<void>;
}

/** A folder of which all files vanish is taken for a mistake; so one stays, for a network that nobody makes. */
const keeper = "keeper.yaml";

/** A world whose agents watch a folder of their own. After each test no policy is left. */
export function policyScene(test: TestFn, keys: Keys = {}): PolicyScene {
  const stage = scene(test, { agent: false });
  const directory = (): string => `${stage.world.directory}/policy.d`;
  const write = (file: string, text: string): string => {
    const path = `${stage.world.directory}/${file}`;
    writeFileSync(path, text);
    return path;
  };
  const policies = async (): Promise<readonly PolicyRow[]> => (await stage.host.json("policy", "list")) as readonly PolicyRow[];
  test.serial.before("the agent watches a folder of its own", async () => {
    mkdirSync(directory());
    writeFileSync(`${directory()}/${keeper}`, "policy: keeper\nfor: { network: keeper }\ndefault: { in: allow }\n");
    configure(stage.host, { ...keys, policy: { directory: directory(), ...keys["policy"] } });
    await stage.host.agent.start();
  });
  test.serial.afterEach.always("no policy is left", async () => {
    await stage.host.agent.start();
    for (const file of readdirSync(directory())) if (file !== keeper) rmSync(`${directory()}/${file}`);
    for (const { name, source } of await policies()) if (source.startsWith("apply")) await stage.host.hawser(["policy", "delete", name]);
    await waitFor("the policies to go", async () => (await policies()).every(({ name }) => name === "keeper"));
  });
  return {
    get world() {
      return stage.world;
    },
    get host() {
      return stage.host;
    },
    get directory() {
      return directory();
    },
    apply: (text, file = "shop.yaml") => stage.host.hawser(["policy", "apply", write(file, text)]),
    applyOutput: (text, ...options) => stage.host.hawser(["policy", "apply", ...options, write("shop.yaml", text)], { mayFail: true }),
    policies,
    drop: (file, text) => renameSync(write(`${file}.new`, text), `${directory()}/${file}`),
    configured: async (other, work) => {
      const before = readFileSync(stage.host.configuration, "utf8");
      await stage.host.agent.stop();
      configure(stage.host, other);
      try {
        await stage.host.agent.start();
        await work();
      } finally {
        await stage.host.agent.stop();
        writeFileSync(stage.host.configuration, before);
        await stage.host.agent.start();
      }
    },
  };
}

/** Its agent takes it up at its next start. */
export function configure(host: Host, keys: Keys): void {
  const standing = parse(readFileSync(host.configuration, "utf8")) as Record<string, Record<string, unknown>>;
  for (const [part, values] of Object.entries(keys)) standing[part] = { ...standing[part], ...values };
  writeFileSync(host.configuration, stringify(standing));
}

export type Transport = "tcp" | "udp";

/** A server of the lab answers. */
export async function passes(t: ExecutionContext, from: Place, address: string, port: number, protocol: Transport = "tcp", why = ""): Promise<void> {
  t.regex(await from.ask(protocol, address, port, { timeout: 3 }), /^\S+ \d+$/, `${from.name} to ${address} ${port}/${protocol} should pass ${why}`);
}

/** Nothing answers and nothing refuses: the packets are gone. */
export async function isDropped(t: ExecutionContext, from: Place, address: string, port: number, protocol: Transport = "tcp", why = ""): Promise<void> {
  t.is(await from.ask(protocol, address, port, { timeout: 0.7 }), "TIMEOUT", `${from.name} to ${address} ${port}/${protocol} should be dropped ${why}`);
}

export const pings = async (from: Place, address: string): Promise<boolean> =>
  (await from.run(["ping", "-c1", "-W1", address], { mayFail: true })).code === 0;

/** One line of `observe -o jsonl`, as far as the tests read it. */
export interface Told {
  readonly verdict: string;
  readonly IP?: { readonly source: string; readonly destination: string; readonly ipVersion: string };
  readonly l4?: Readonly<Record<string, { readonly source_port?: number; readonly destination_port?: number }>>;
  readonly source?: { readonly identity?: number; readonly pod_name?: string; readonly labels?: readonly string[] };
  readonly destination?: { readonly identity?: number; readonly pod_name?: string; readonly labels?: readonly string[] };
  readonly drop_reason_desc?: string;
  readonly traffic_direction?: string;
  readonly egress_denied_by?: readonly { readonly name?: string }[];
  readonly ingress_denied_by?: readonly { readonly name?: string }[];
  readonly hawser?: {
    readonly reason?: string; readonly rule?: string; readonly file?: string; readonly line?: number; readonly policy?: string; readonly direction?: string;
  };
}

export function readTold(text: string): readonly Told[] {
  return text.split("\n").filter((line) => line.startsWith("{")).map((line) => (JSON.parse(line) as { readonly flow: Told }).flow);
}

/** `hawser observe … -o jsonl`. */
export async function observe(host: Host, ...args: readonly string[]): Promise<readonly Told[]> {
  return readTold((await host.hawser(["observe", "-o", "jsonl", ...args])).stdout);
}

export const portOf = (told: Told): number | undefined => Object.values(told.l4 ?? {})[0]?.destination_port;

export interface Counter extends AsyncDisposable {
  packets(): Promise<number>;
}

/** Not the one of that name that a package may have put first in the path. */
const nft = "/usr/sbin/nft";

let counters = 0;

/** Counts what comes in from the wire of a place and matches nftables' words, whoever listens there. */
export async function counter(place: Place, match: string): Promise<Counter> {
  const table = `count${(counters += 1)}`;
  await place.run([nft, "-f", "-"], {
    input: `table inet ${table} {\n chain c {\n type filter hook prerouting priority -400\n ${match} counter\n }\n}\n`,
  });
  return {
    packets: async () => {
      const listing = await place.sh(`${nft} list table inet ${table}`);
      const packets = /packets (\d+)/.exec(listing)?.[1];
      if (packets === undefined) throw new Error(`the counter is gone: ${listing}`);
      return Number(packets);
    },
    [Symbol.asyncDispose]: async () => {
      await place.run([nft, "delete", "table", "inet", table], { mayFail: true });
    },
  };
}
