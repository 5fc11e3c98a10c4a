// Forged tunnel packets: from who is no node, from a node for what is not its own, and from containers.
//
//   a: c1 (shop)   b: c2 (shop)   c: c3 (shop)   nb (an ordinary machine)
//   └───────┬──────┴──────┬───────┴──────────────┴── LAN
import test from "ava";
import { clusterScene, datagrams, dropsOf, endpointOf, meet } from "../lab/cluster.ts";
import { expectDrops } from "../lab/drops.ts";
import type { Host } from "../lab/host.ts";
import type { Place } from "../lab/place.ts";
import { observe } from "../lab/policy.ts";
import { waitFor } from "../lab/run.ts";

const stage = clusterScene(test);

interface Cast {
  readonly c1: Place;
  readonly c2: Place;
  readonly c3: Place;
  /** The identity of a container on its own node. */
  readonly keys: { readonly c2: number; readonly c3: number };
}

async function cast(): Promise<Cast> {
  const { a, b, c } = stage;
  await stage.network("shop", "--ipv6");
  const [c1, c2, c3] = await Promise.all([
    stage.container(a, "c1", "shop"), stage.container(b, "c2", "shop", "--label", "tier=two"), stage.container(c, "c3", "shop", "--label", "tier=three"),
  ]);
  await meet([c1, c2, c3]);
  const keys = { c2: (await endpointOf(b, "c2")).identity, c3: (await endpointOf(c, "c3")).identity };
  return { c1, c2, c3, keys };
}

/** `observe` on the host tells of a drop for that reason and names the sender. */
async function isTold(host: Host, reason: string, sender: string): Promise<void> {
  await waitFor(`observe to tell of ${reason} and of ${sender}`, async () =>
    (await observe(host, "--last", "100", "--verdict", "dropped")).some((flow) => flow.hawser?.reason === reason && JSON.stringify(flow).includes(sender)), { promisedMs: 5000 });
}

test.serial("a tunnel packet that is what it claims arrives: so those below are dropped for what is forged", async (t) => {
  const { a, b } = stage;
  const { c1, c2, keys } = await cast();
  const before = await a.drops();
  for (const [source, target] of [[c2.ipv4, c1.ipv4], [c2.ipv6, c1.ipv6]] as const) {
    const had = await datagrams(c1);
    await b.tunnel({ ...stage.tunnels, outer: a.ipv4, key: keys.c2, source, target });
    await waitFor(`the packet to arrive at ${target}`, async () => (await datagrams(c1)) !== had);
  }
  await expectDrops(a, before, {});
  t.pass();
});

test.serial("tunnel packets of a machine that is no node are dropped, with a true key and a true address inside, and the sender is told (R42)", async (t) => {
  const { a, world: { neighbour } } = stage;
  const { c1, c2, keys } = await cast();
  const [before, had] = [await a.drops(), await datagrams(c1)];
  await neighbour.tunnel({ ...stage.tunnels, outer: a.ipv4, key: keys.c2, source: c2.ipv4, target: c1.ipv4, count: 3 });
  await neighbour.tunnel({ ...stage.tunnels, outer: a.ipv4, key: keys.c2, source: c2.ipv6, target: c1.ipv6, count: 3 });
  await neighbour.tunnel({ ...stage.tunnels, outer: a.ipv6, key: keys.c2, source: c2.ipv4, target: c1.ipv4, count: 2 });
  await isTold(a, "UNKNOWN_PEER", neighbour.ipv4);
  await isTold(a, "UNKNOWN_PEER", neighbour.ipv6);
  t.is(await datagrams(c1), had);
  await expectDrops(a, before, { UNKNOWN_PEER: 8 });
});

test.serial("a node's packet from an address that is another's, its receiver's or the world's is dropped (R43)", async (t) => {
  const { a, b, world: { outside } } = stage;
  const { c1, c3, keys } = await cast();
  const [before, had] = [await a.drops(), await datagrams(c1)];
  const nobody = c3.ipv4.replace(/\d+$/, "250");
  for (const [source, target] of [
    [c3.ipv4, c1.ipv4], [c3.ipv6, c1.ipv6], [c1.ipv4, c1.ipv4], [nobody, c1.ipv4], [outside.ipv4, c1.ipv4], [outside.ipv6, c1.ipv6], [a.ipv4, c1.ipv4],
  ] as const) await b.tunnel({ ...stage.tunnels, outer: a.ipv4, key: keys.c3, source, target });
  await isTold(a, "PEER_ADDRESS", b.ipv4);
  t.is(await datagrams(c1), had);
  await expectDrops(a, before, { PEER_ADDRESS: 7 });
});

test.serial("a node's packet with an identity that its container does not have is dropped, and so is one that comes back for a client in no service's name (R43)", async (t) => {
  const { a, b } = stage;
  const { c1, c2, keys } = await cast();
  const [before, had] = [await a.drops(), await datagrams(c1)];
  // 2 is the key of what containers answer services' clients (bpf/lib/lbreturn.h): its source is to be a service's.
  for (const key of [keys.c3, 0, 2, 2 ** 24 - 1]) {
    await b.tunnel({ ...stage.tunnels, outer: a.ipv4, key, source: c2.ipv4, target: c1.ipv4 });
    await b.tunnel({ ...stage.tunnels, outer: a.ipv4, key, source: c2.ipv6, target: c1.ipv6 });
  }
  await isTold(a, "PEER_IDENTITY", b.ipv4);
  t.is(await datagrams(c1), had);
  await expectDrops(a, before, { PEER_IDENTITY: 6, PEER_ADDRESS: 2 });
});

test.serial("a container's packet to any node's tunnel port is dropped, so that its host lends it no name (R41)", async (t) => {
  const { a, b, world: { hosts } } = stage;
  const { c1, c2, c3, keys } = await cast();
  const [before, had] = [await dropsOf(hosts), await datagrams(c3)];
  for (const outer of [a.ipv4, b.ipv4, stage.c.ipv4, stage.c.ipv6]) {
    await c1.tunnel({ ...stage.tunnels, outer, key: keys.c2, source: c2.ipv4, target: c3.ipv4, count: 2 });
  }
  t.is(await datagrams(c3), had);
  await expectDrops(a, before[0] ?? {}, { ENCAP_PROHIBITED: 8 });
  await expectDrops(b, before[1] ?? {}, {});
  await expectDrops(stage.c, before[2] ?? {}, {});
});

test.serial("a container with another node's container's address is dropped where it is (R37)", async (t) => {
  const { a, world: { hosts } } = stage;
  const { c1, c2, c3 } = await cast();
  const gateway = /default via (\S+)/.exec(await c1.sh("ip route"))?.[1] ?? "";
  await c1.run(["ping", "-c1", "-W1", gateway]);
  const targetMac = /lladdr (\S+)/.exec(await c1.sh(`ip neigh show ${gateway}`))?.[1] ?? "";
  const [before, had] = [await dropsOf(hosts), await datagrams(c3)];
  await c1.frames("udp4", { source: c2.ipv4, target: c3.ipv4, targetMac, count: 3 });
  await c1.frames("udp6", { source: c2.ipv6, target: c3.ipv6, targetMac, count: 3 });
  t.is(await datagrams(c3), had);
  await expectDrops(a, before[0] ?? {}, { INVALID_SOURCE_IP: 6 });
  await expectDrops(stage.c, before[2] ?? {}, {});
});
