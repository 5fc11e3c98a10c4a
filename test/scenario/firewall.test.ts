// Other people's firewalls: Hawser adds no rule of its own, and nobody's flush takes anything from it.
//
//   a: web, peer (shop)      LAN ── router ── outside
import test from "ava";
import { expectDrops, some } from "../lab/drops.ts";
import { scene } from "../lab/scenario.ts";

const stage = scene(test);

test.serial("flushing every nftables and iptables rule changes neither ports nor isolation nor masquerading (R98)", async (t) => {
  const { host, world: { outside } } = stage;
  await host.network("shop", "--ipv6");
  await host.network("yard");
  await host.container("web", ["--network", "shop", "-p", "8080:7000"]);
  await host.container("peer", ["--network", "shop"]);
  await host.container("stranger", ["--network", "yard"]);
  const [web, peer, stranger] = [await host.inside("web"), await host.inside("peer"), await host.inside("stranger")];
  await using _serving = await web.serve({ tcp: [7000] });
  await using _world = await outside.serve({ tcp: [7000] });
  const before = await host.drops();
  const everything = async (): Promise<void> => {
    t.regex(await outside.ask("tcp", host.ipv4, 8080), new RegExp(`^${outside.ipv4} `));
    t.regex(await outside.ask("tcp", host.ipv6, 8080), new RegExp(`^${outside.ipv6} `));
    t.regex(await peer.ask("tcp", web.ipv4, 7000), new RegExp(`^${peer.ipv4} `));
    t.regex(await web.ask("tcp", outside.ipv4, 7000), new RegExp(`^${host.ipv4} `));
    t.is(await stranger.ask("tcp", web.ipv4, 7000, { timeout: 1 }), "TIMEOUT");
    t.regex(await host.ask("tcp", "127.0.0.1", 8080), /^\S+ \d+$/);
  };
  await everything();
  await host.sh("/usr/sbin/nft flush ruleset; iptables -F -t nat; iptables -F; ip6tables -F");
  await everything();
  await expectDrops(host, before, { NETWORK_ISOLATED: some });
});

test.serial("a forward policy of drop does not touch containers", async (t) => {
  const { host, world: { outside } } = stage;
  await host.network("shop");
  await host.container("web", ["--network", "shop", "-p", "8080:7000"]);
  const web = await host.inside("web");
  await using _serving = await web.serve({ tcp: [7000] });
  await using _world = await outside.serve({ tcp: [7000] });
  await host.sh("iptables -P FORWARD DROP; ip6tables -P FORWARD DROP");
  t.regex(await outside.ask("tcp", host.ipv4, 8080), new RegExp(`^${outside.ipv4} `));
  t.regex(await web.ask("tcp", outside.ipv4, 7000), new RegExp(`^${host.ipv4} `));
});

test.serial("a container, a port and a network add no rule", async (t) => {
  const { host } = stage;
  const rules = async (): Promise<string> => (await host.sh("iptables-save -t nat; iptables-save -t filter; ip6tables-save")).replaceAll(/#.*|\[\d+:\d+\]/g, "");
  const before = await rules();
  await host.network("shop");
  await host.container("web", ["--network", "shop", "-p", "8080:7000"]);
  t.is(await rules(), before);
});
