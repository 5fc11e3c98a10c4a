// BGP between the hosts and the router with Debian's BIRD: each host announces its slices of the pool and learns the others'.
//
//   host a (AS 64513) ── router (AS 64512) ── host b (AS 64514) …
import { mkdirSync, writeFileSync } from "node:fs";
import { daemon, type Daemon } from "./daemon.ts";
import type { Host } from "./host.ts";
import type { Place } from "./place.ts";
import { waitFor } from "./run.ts";
import type { World } from "./world.ts";

export interface Slices {
  readonly ipv4: string;
  readonly ipv6: string;
}

/** One end of a session per family. */
export interface Speaker {
  readonly as: number;
  readonly ipv4: string;
  readonly ipv6: string;
}

const routerAs = 64512;

/** What `bird.conf` of a node says: docs/bgp.md shows it. */
export function nodeConfiguration(node: Speaker, slices: Slices, router: Speaker): string {
  return `log stderr all;
router id ${node.ipv4};

protocol device { }

# This node's slices of the pool, as \`hawser node list\` shows them.
protocol static slice4 { ipv4; route ${slices.ipv4} unreachable; }
protocol static slice6 { ipv6; route ${slices.ipv6} unreachable; }

# The others' slices go to the kernel. This node's own containers are there already: their networks are routes to hwhost.
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel { ipv6 { import none; export where source = RTS_BGP; }; }

protocol bgp router4 {
  local ${node.ipv4} as ${node.as};
  neighbor ${router.ipv4} as ${router.as};
  connect delay time 1;
  ipv4 { import where net ~ [ 10.44.0.0/16{24,24} ]; export where proto = "slice4"; };
}
protocol bgp router6 {
  local ${node.ipv6} as ${node.as};
  neighbor ${router.ipv6} as ${router.as};
  connect delay time 1;
  ipv6 { import where net ~ [ fd44::/48{64,64} ]; export where proto = "slice6"; };
}
`;
}

/** The router's end of each session. */
export interface Session {
  readonly name: string;
  readonly router: Speaker;
  readonly node: Speaker;
}

/** What the router's says: it hands on to every node what the others announce. */
export function routerConfiguration(id: string, sessions: readonly Session[]): string {
  const session = (name: string, family: "ipv4" | "ipv6", prefixes: string, router: Speaker, node: Speaker): string => `
protocol bgp ${name}${family.slice(3)} {
  local ${router[family]} as ${router.as};
  neighbor ${node[family]} as ${node.as};
  connect delay time 1;
  ${family} { import where net ~ [ ${prefixes} ]; export where source = RTS_BGP; };
}
`;
  return `log stderr all;
router id ${id};

protocol device { }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel { ipv6 { import none; export where source = RTS_BGP; }; }
${sessions.map(({ name, router, node }) => session(name, "ipv4", "10.44.0.0/16{24,24}", router, node) + session(name, "ipv6", "fd44::/48{64,64}", router, node)).join("")}`;
}

export interface Bgp extends AsyncDisposable {
  readonly router: Daemon;
  /** In the order of the hosts. */
  readonly nodes: readonly Daemon[];
}

/** Starts BIRD on the router and on every host, and waits until the kernel of each has the routes to all others' slices. */
export async function bgp(world: World, slicesOf: (host: Host) => Slices): Promise<Bgp> {
  const sessions = world.hosts.map((host, index): Session => ({
    name: host.name, node: { as: routerAs + 1 + index, ipv4: host.ipv4, ipv6: host.ipv6 },
    router: { as: routerAs, ipv4: gatewayOf(host.ipv4), ipv6: gatewayOf(host.ipv6) },
  }));
  const router = bird(world, world.router, routerConfiguration(world.router.ipv4, sessions));
  const nodes = world.hosts.map((host, index) => {
    const session = sessions[index];
    if (session === undefined) throw new Error(`${host.name} has no session`);
    return bird(world, host, nodeConfiguration(session.node, slicesOf(host), session.router));
  });
  const stop = async (): Promise<void> => {
    await Promise.all([router, ...nodes].map((each) => each.stop()));
  };
  try {
    await Promise.all([router, ...nodes].map((each) => each.start()));
    for (const host of world.hosts) {
      for (const other of world.hosts.filter((each) => each !== host)) {
        const { ipv4, ipv6 } = slicesOf(other);
        await waitFor(`${host.name} to learn the way to ${other.name}'s slices`, async () =>
          (await host.sh(`ip -4 route show ${ipv4} proto bird; ip -6 route show ${ipv6} proto bird`)).split("\n").filter(Boolean).length === 2,
        { explain: () => `${router.tail(5)}\n${nodes.map((each) => each.tail(5)).join("\n")}` });
      }
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { router, nodes, [Symbol.asyncDispose]: stop };
}

/** The router's address on a machine's subnet. */
const gatewayOf = (address: string): string => address.replace(/(?<=[.:])\d+$/, "1");

function bird(world: World, at: Place, configuration: string): Daemon {
  const directory = `${world.directory}/${at.name}`;
  const [file, control] = [`${directory}/bird.conf`, `${directory}/bird.ctl`];
  mkdirSync(directory, { recursive: true });
  writeFileSync(file, configuration);
  return daemon({
    name: "bird",
    directory,
    command: () => at.command(["bird", "-f", "-c", file, "-s", control, "-P", `${directory}/bird.process`]),
    serves: async () => (await at.run(["birdc", "-s", control, "show", "status"], { mayFail: true, timeoutMs: 5_000 })).stdout.includes("Daemon is up and running"),
  });
}
