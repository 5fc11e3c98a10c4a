// Published ports obey policy, by the client's own address and the container's own port.
//
//   a: web (shop)   other (yard)      nb ── LAN ── router ── outside (the office's range)
import test from "ava";
import { expectDrops, some } from "../lab/drops.ts";
import type { Place } from "../lab/place.ts";
import { isDropped, passes, policyScene } from "../lab/policy.ts";

const stage = policyScene(test);

/** web serves TCP and UDP 7000, published as 8080. */
async function server(): Promise<Place> {
  const { host } = stage;
  await host.network("shop", "--ipv6");
  await host.container("web", ["--network", "shop", "-p", "8080:7000", "-p", "8080:7000/udp"]);
  return host.inside("web");
}

test.serial("a published port can be closed to the LAN and open to an office, by the client's address before translation (R46)", async (t) => {
  const { host, world: { neighbour, outside } } = stage;
  const web = await server();
  await using _serving = await web.serve({ tcp: [7000], udp: [7000] });
  const before = await host.drops();
  await stage.apply(`
policy: shop
for: { network: shop }
default: { in: deny }
sets: { office: [203.0.113.0/24, "2001:db8::/32 except 2001:db8:bad::/48"] }
allow:
  - "@office -> web:7000"
`);
  for (const [address, client, sourcePort] of [[host.ipv4, outside.ipv4, 4242], [host.ipv6, outside.ipv6, 4243]] as const) {
    t.is(await outside.ask("tcp", address, 8080, { sourcePort }), `${client} ${sourcePort}`);
    await isDropped(t, outside, address, 8080, "udp", "since the sentence speaks of TCP");
    await isDropped(t, neighbour, address, 8080);
    await isDropped(t, neighbour, address, 8080, "udp");
  }
  for (const address of ["127.0.0.1", "::1", host.ipv4, host.ipv6]) await isDropped(t, host, address, 8080, "tcp", "for the host is not the office");
  await expectDrops(host, before, { POLICY_DEFAULT_IN: some });
});

test.serial("a published port denied to the LAN alone stays open to all others", async (t) => {
  const { host, world: { neighbour, outside } } = stage;
  const web = await server();
  await using _serving = await web.serve({ tcp: [7000], udp: [7000] });
  const before = await host.drops();
  await stage.apply("policy: shop\nfor: { network: shop }\ndeny:\n  - lan -> web\n");
  for (const address of [host.ipv4, host.ipv6]) {
    await passes(t, outside, address, 8080);
    await isDropped(t, neighbour, address, 8080);
    await isDropped(t, neighbour, address, 8080, "udp");
    await passes(t, host, address, 8080, "tcp", "for the host is not the LAN");
  }
  await passes(t, host, "127.0.0.1", 8080);
  await expectDrops(host, before, { POLICY_DENIED: some });
});

test.serial("the host is not the world: each is opened by its own word", async (t) => {
  const { host, world: { neighbour, outside } } = stage;
  const web = await server();
  await using _serving = await web.serve({ tcp: [7000], udp: [7000] });
  const before = await host.drops();
  const only = (peer: string): Promise<unknown> => stage.apply(`policy: shop\nfor: { network: shop }\ndefault: { in: deny }\nallow:\n  - ${peer} -> web:7000\n`);
  await only("world");
  for (const client of [neighbour, outside]) await passes(t, client, host.ipv4, 8080);
  for (const address of ["127.0.0.1", "::1", host.ipv4]) await isDropped(t, host, address, 8080);
  await isDropped(t, host, web.ipv4, 7000);
  await only("host");
  for (const client of [neighbour, outside]) await isDropped(t, client, host.ipv4, 8080);
  for (const address of ["127.0.0.1", "::1", host.ipv4, host.ipv6]) await passes(t, host, address, 8080);
  await passes(t, host, web.ipv4, 7000);
  await expectDrops(host, before, { POLICY_DEFAULT_IN: some });
});

test.serial("a container that comes by a published port is judged as the container it is", async (t) => {
  const { host } = stage;
  const web = await server();
  await host.network("yard", "--ipv6");
  for (const name of ["good", "bad"]) await host.container(name, ["--network", "yard"]);
  const [good, bad] = [await host.inside("good"), await host.inside("bad")];
  await using _serving = await web.serve({ tcp: [7000], udp: [7000] });
  const before = await host.drops();
  await stage.apply("policy: shop\nfor: { network: shop }\ndefault: { in: deny }\nallow:\n  - yard/good -> web:7000\n  - host, world -> web\n");
  for (const address of [host.ipv4, host.ipv6]) {
    await passes(t, good, address, 8080);
    await isDropped(t, bad, address, 8080);
    await isDropped(t, good, address, 8080, "udp");
  }
  await expectDrops(host, before, { POLICY_DEFAULT_IN: some });
});

test.serial("policy.published: deny closes the published ports of a container that no policy covers, but to the host", async (t) => {
  const { host, world: { neighbour, outside } } = stage;
  await stage.configured({ policy: { published: "deny" } }, async () => {
    const web = await server();
    await using _serving = await web.serve({ tcp: [7000], udp: [7000] });
    const before = await host.drops();
    for (const client of [neighbour, outside]) {
      for (const address of [host.ipv4, host.ipv6]) {
        await isDropped(t, client, address, 8080);
        await isDropped(t, client, address, 8080, "udp");
      }
    }
    await passes(t, host, "127.0.0.1", 8080);
    await expectDrops(host, before, { POLICY_PUBLISHED: some });
    await stage.apply("policy: shop\nfor: { network: shop }\ndefault: { out: allow }\n");
    await passes(t, neighbour, host.ipv4, 8080, "tcp", "since a policy covers it that closes nothing");
    await host.clear();
  });
});

test.serial("policy.published: deny is opened by a rule, for those it names", async (t) => {
  const { host, world: { neighbour, outside } } = stage;
  await stage.configured({ policy: { published: "deny" } }, async () => {
    const web = await server();
    await using _serving = await web.serve({ tcp: [7000], udp: [7000] });
    const before = await host.drops();
    // For others than web, so that no policy covers it.
    await stage.apply("policy: door\nfor: { network: yard }\nallow:\n  - 203.0.113.0/24 -> shop/web:7000\n");
    await passes(t, outside, host.ipv4, 8080);
    await isDropped(t, neighbour, host.ipv4, 8080);
    await expectDrops(host, before, { POLICY_PUBLISHED: some });
    await host.clear();
  });
});
