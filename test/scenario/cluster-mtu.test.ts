// Uplinks of every width, alike and mixed, under tunnels over IPv6: everything passes, and what is too big is told to its sender (R70).
//
//   a: c1 (shop)   b: c2 (shop)   c: c3 (shop)
//   └───────┬──────┴──────┬───────┴── LAN, IPv6 between the hosts
import test from "ava";
import { allTalk, clusterScene, meet, packetsOf, sniff } from "../lab/cluster.ts";
import type { Place } from "../lab/place.ts";
import type { ExecutionContext } from "ava";
import { waitFor } from "../lab/run.ts";

const stage = clusterScene(test, { underlay: 6 });

async function oneOnEach(): Promise<readonly [Place, Place, Place]> {
  const { a, b, c } = stage;
  await stage.network("shop", "--ipv6");
  const places = await Promise.all([stage.container(a, "c1", "shop"), stage.container(b, "c2", "shop"), stage.container(c, "c3", "shop")] as const);
  await meet(places);
  return places;
}

/** A megabyte by TCP and the largest datagrams, each way. The first datagram may be lost to finding out how wide the path is. */
async function everythingPasses(t: ExecutionContext, one: Place, other: Place, what: string): Promise<void> {
  for (const [from, to] of [[one, other], [other, one]] as const) {
    await using _server = await to.serve({ tcp: [7000], udp: [7000] });
    for (const [mine, theirs] of [[from.ipv4, to.ipv4], [from.ipv6, to.ipv6]] as const) {
      t.regex(await from.ask("tcp", theirs, 7000, { size: 1_000_000, timeout: 10 }), new RegExp(`^${mine} `), `${what}: ${from.name} to ${theirs} by TCP`);
      await waitFor(`${what}: a large datagram from ${from.name} to be answered by ${theirs}`, async () =>
        (await from.ask("udp", theirs, 7000, { size: 65_400, timeout: 1 })).startsWith(`${mine} `), { promisedMs: 5000 });
    }
  }
}

async function uplinks(...mtus: readonly [number, number, number]): Promise<void> {
  for (const [index, host] of stage.world.hosts.entries()) await host.setMtu(mtus[index] ?? 1500);
}

test.serial("hosts that reach each other over IPv6 carry IPv4 and IPv6", async (t) => {
  const places = await oneOnEach();
  await using four = await sniff(stage.b, "ip and udp port 8472");
  await using six = await sniff(stage.b, "ip6 and udp port 8472");
  await allTalk(t, places);
  await waitFor("the tunnels to be seen", () => packetsOf(six).length > 0);
  t.deepEqual(packetsOf(four), []);
});

// Linux cuts up no tunnel packet over IPv6, and IPv6 within needs 1280 bytes; 1280 itself is in cluster-overlay, where tunnels go over IPv4.
for (const mtu of [1350, 1420, 1450, 1492, 1500, 9000]) {
  test.serial(`with uplinks of ${mtu} bytes a megabyte by TCP and the largest datagrams pass, IPv4 and IPv6 (R70)`, async (t) => {
    await uplinks(mtu, mtu, mtu);
    try {
      const [c1, c2] = await oneOnEach();
      await everythingPasses(t, c1, c2, String(mtu));
    } finally {
      await uplinks(1500, 1500, 1500);
    }
  });
}

test.serial("between uplinks of 9000, 1500 and 1420 bytes everything passes, and a packet that is too big is told its sender with the width that passes (R70)", async (t) => {
  await uplinks(9000, 1500, 1420);
  try {
    const [c1, c2, c3] = await oneOnEach();
    await everythingPasses(t, c1, c2, "9000 and 1500");
    await everythingPasses(t, c1, c3, "9000 and 1420");
    await everythingPasses(t, c2, c3, "1500 and 1420");
    const ping = async (size: number, address: string): Promise<{ readonly code: number; readonly text: string }> => {
      const { code, stdout, stderr } = await c1.run(["ping", "-M", "do", "-s", String(size), "-c2", "-i0.2", "-W1", address], { mayFail: true });
      return { code, text: stdout + stderr };
    };
    for (const [to, width] of [[c2, 1500], [c3, 1420]] as const) {
      for (const [address, headers] of [[to.ipv4, 28], [to.ipv6, 48]] as const) {
        const { text } = await ping(8000, address);
        const told = Number(/mtu ?[=:] ?(\d+)/i.exec(text)?.[1]);
        t.true(told >= 1280 && told <= width, `${address}: ${text}`);
        t.is((await ping(told - headers, address)).code, 0, "and that much passes");
      }
    }
  } finally {
    await uplinks(1500, 1500, 1500);
  }
});
