// Which hosts answer for addresses of services, as the link sees it: asked from a machine beside them, again and again.
import { writeFileSync } from "node:fs";
import type { ExecutionContext } from "ava";
import type { Host } from "./host.ts";
import { waitFor } from "./run.ts";
import type { WhoHas } from "./place.ts";
import type { World } from "./world.ts";

/** Questions in a row that a busy machine may answer too late. */
export const few = 3;

export interface Observation {
  /** The host that answered last; undefined: nobody did. */
  holder(): string | undefined;
  /** Waits until that host alone has answered a few times in a row; undefined: until nobody has. */
  settles(host: string | undefined, promisedMs?: number): Promise<void>;
  /** Fails where two answered one question. @returns the most questions in a row, of ten a second, that nobody has answered since `from`, in milliseconds since the epoch */
  missed(t: ExecutionContext, from: number): number;
}

/** From now on, until `scope` ends. */
export async function observe({ neighbour, hosts }: World, address: string, scope: AsyncDisposableStack): Promise<Observation> {
  const names = new Map(await Promise.all(hosts.map(async (host) => [/link\/ether (\S+)/.exec(await host.sh("ip link show eth0"))?.[1] ?? "", host.name] as const)));
  const who: WhoHas = scope.use(await neighbour.whoHas(address));
  const nameOf = (mac: string): string => names.get(mac) ?? mac;
  return {
    holder: () => {
      const mac = who.answers().at(-1)?.macs[0];
      return mac === undefined ? undefined : nameOf(mac);
    },
    settles: (host, promisedMs = 30_000) => waitFor(`${host ?? "nobody"} to answer for ${address}`, () => {
      const last = who.answers().slice(-5);
      return last.length === 5 && last.every(({ macs }) => macs.map(nameOf).join() === (host ?? ""));
    }, { promisedMs, explain: () => JSON.stringify(who.answers().slice(-20)) }),
    missed: (t, from) => {
      const answers = who.answers();
      t.deepEqual(answers.filter(({ macs }) => macs.length > 1), [], `${address} is answered for by one at a time`);
      let [run, most] = [0, 0];
      for (const { macs } of answers.filter(({ at }) => at >= from)) {
        run = macs.length === 0 ? run + 1 : 0;
        most = Math.max(most, run);
      }
      return most;
    },
  };
}

/** The same service on each of the hosts, with containers that carry the label app=web. */
export async function serve(world: World, hosts: readonly Host[], addresses: readonly string[], name = "web"): Promise<void> {
  const file = `${world.directory}/${name}.yaml`;
  const frontends = addresses.map((address) => (address.includes(":") ? `"[${address}]:80"` : `"${address}:80"`));
  writeFileSync(file, `service: ${name}\nfrontends: [${frontends.join(", ")}]\nbackends: [{ select: { network: shop, label: app=web }, port: 7000 }]\nhealth: { kind: none }\n`);
  for (const host of hosts) await host.hawser(["service", "apply", file]);
}
