// Ways round the doors: through Docker's own bridge, and by ports of the host that a container would like to be behind.
//
//   a: shop (Hawser) ── victim     docker0 ── stranger      LAN ── router ── outside
import test from "ava";
import { expectDrops, some } from "../lab/drops.ts";
import { scene } from "../lab/scenario.ts";

const stage = scene(test);

test.serial("a container of Docker's own bridge does not come in as the host, though Docker masquerades it (R44)", async (t) => {
  const { host } = stage;
  await host.network("shop");
  await host.network("vault", "--internal");
  await host.container("victim", ["--network", "shop"]);
  await host.container("secret", ["--network", "vault"]);
  await host.container("stranger", ["--network", "bridge"]);
  const [victim, secret, stranger] = [await host.inside("victim"), await host.inside("secret"), await host.inside("stranger")];
  await using _shop = await victim.serve({ tcp: [7000], udp: [7000] });
  await using _vault = await secret.serve({ tcp: [7000] });
  const before = await host.drops();
  t.regex(await host.ask("tcp", victim.ipv4, 7000), /^10\.44\.\S+ \d+$/, "the host itself may");
  for (const protocol of ["tcp", "udp"] as const) t.is(await stranger.ask(protocol, victim.ipv4, 7000, { timeout: 1 }), "TIMEOUT");
  t.is(await stranger.ask("tcp", secret.ipv4, 7000, { timeout: 1 }), "TIMEOUT");
  await expectDrops(host, before, { DIRECT_ACCESS: some });
});

test.serial("a container cannot place itself behind a port of the host and wait for its clients (R79)", async (t) => {
  const { host, world: { neighbour } } = stage;
  await host.network("shop");
  await host.container("evil", ["--network", "shop"]);
  await host.container("good", ["--network", "shop", "-p", "20000:7000/udp"]);
  const [evil, good] = [await host.inside("evil"), await host.inside("good")];
  await using _good = await good.serve({ udp: [7000] });
  // Every source port: each gets another port of the host's, so that together they would hold all that may be held.
  await evil.sh(`python3 -c '
import socket
for port in range(1024, 65536):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        s.bind(("", port)); s.sendto(b"x", ("${neighbour.ipv4}", 4000))
    except OSError:
        pass
    s.close()
'`, { timeoutMs: 60_000 });
  t.is(await neighbour.ask("udp", host.ipv4, 20000, { sourcePort: 4000 }), `${neighbour.ipv4} 4000`);
});
