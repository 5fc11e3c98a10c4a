// Names of containers on other hosts, asked for through Docker's own resolver, with the table as another host's would fill it.
//
//   a: c1 (shop) ── c2 (shop), which stands for another host's `db`
import test from "ava";
import { fileURLToPath } from "node:url";
import { expectDrops } from "../lab/drops.ts";
import { waitFor } from "../lab/run.ts";
import { scene } from "../lab/scenario.ts";

const stage = scene(test);
const writer = fileURLToPath(new URL("../lab/known-names.ts", import.meta.url));

/** This host's number of the network. Docker tells no gateway that Hawser chose in a subnet that the user chose. */
async function numberOf(network: string, gateway?: string): Promise<number> {
  const { host } = stage;
  gateway ??= (await host.docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", network)).split("/")[0];
  const rows = (await host.json("map", "dump", "hw_networks")) as readonly { readonly key: number; readonly value: { readonly gateway4: string } }[];
  const found = rows.find((row) => row.value.gateway4 === gateway);
  if (found === undefined) throw new Error(`no network has the gateway ${gateway}`);
  return found.key;
}

/** With the agent killed until the end of the scope, so that nobody else writes the table. */
async function know(...names: readonly string[]): Promise<AsyncDisposable> {
  const { host } = stage;
  await host.agent.kill();
  await host.run([process.execPath, writer, "/sys/fs/bpf/hawser", ...names]);
  return { [Symbol.asyncDispose]: () => host.agent.start() };
}

/** Exit code and first line of one ping. */
async function ping(container: string, name: string): Promise<string> {
  const { code, stdout, stderr } = await stage.host.dockerOutput(["exec", container, "ping", "-c1", "-W1", name]);
  return `${code} ${`${stdout}${stderr}`.split("\n")[0]}`;
}

test.serial("a name of another host is found while the agent is away, as it is, in capitals, with its network, and by its address", async (t) => {
  const { host } = stage;
  await host.network("shop", "--ipv6");
  await host.container("c1", ["--network", "shop"]);
  await host.container("c2", ["--network", "shop"]);
  const [shop, c2] = [await numberOf("shop"), await host.inside("c2")];
  const before = await host.drops();
  {
    await using _away = await know(`${shop}/db=${c2.ipv4}`, `${shop}/db.shop=${c2.ipv4}`, `${shop}/both=${c2.ipv4},${c2.ipv6}`, `${shop}/far=10.255.0.9`);
    for (const name of ["db", "DB", "db.shop"]) t.is(await ping("c1", name), `0 PING ${name} (${c2.ipv4}): 56 data bytes`);
    const answers = await host.docker("exec", "c1", "nslookup", "both");
    t.true(answers.includes(`Address: ${c2.ipv4}`) && answers.includes(`Address: ${c2.ipv6}`), answers);
    t.regex(await host.docker("exec", "c1", "nslookup", "10.255.0.9"), /name = far/);
    t.is(await ping("c1", "nobody"), "1 ping: bad address 'nobody'", "what is not known goes to the server");
    t.regex(await host.docker("exec", "c1", "nslookup", c2.ipv4), /name = c2\.shop/, "Docker's own answer goes first");
  }
  await expectDrops(host, before, {});
});

test.serial("a container on two networks finds the names of both, whichever has its default route; one on the other network finds none", async (t) => {
  const { host } = stage;
  await host.network("front");
  await host.network("shop");
  await host.container("c1", ["--network", "front"]);
  await host.docker("network", "connect", "shop", "c1");
  await host.container("c2", ["--network", "shop"]);
  await host.container("c3", ["--network", "front"]);
  const [front, shop, c2, c3] = [await numberOf("front"), await numberOf("shop"), await host.inside("c2"), await host.inside("c3")];
  await waitFor("the container's two networks to be known as one container's", async () => ((await host.json("map", "dump", "hw_name_scopes")) as readonly unknown[]).length === 2);
  const before = await host.drops();
  {
    await using _away = await know(`${shop}/db=${c2.ipv4}`, `${front}/web=${c3.ipv4}`);
    t.is(await ping("c1", "db"), `0 PING db (${c2.ipv4}): 56 data bytes`);
    t.is(await ping("c1", "web"), `0 PING web (${c3.ipv4}): 56 data bytes`);
    t.is(await ping("c3", "db"), "1 ping: bad address 'db'");
  }
  await expectDrops(host, before, {});
});

test.serial("on an internal network names are found when Docker asks the gateway", async (t) => {
  const { host } = stage;
  await host.network("inner", "--internal", "--subnet", "10.61.0.0/24");
  await host.container("c1", ["--network", "inner", "--dns", "10.61.0.1"]);
  await host.container("c2", ["--network", "inner"]);
  const [inner, c2] = [await numberOf("inner", "10.61.0.1"), await host.inside("c2")];
  const before = await host.drops();
  {
    await using _away = await know(`${inner}/db=${c2.ipv4}`);
    t.is(await ping("c1", "db"), `0 PING db (${c2.ipv4}): 56 data bytes`);
    t.is(await ping("c2", "db"), "1 ping: bad address 'db'", "it has no way to any server");
  }
  await expectDrops(host, before, {});
});
