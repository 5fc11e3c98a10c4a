// What no policy reaches, and who else speaks with a container's identity, as Docker's lists and inspections tell it (R50).
import test from "ava";
import { openDocker } from "../../../src/docker/client.ts";
import type { ListedContainer } from "../../../src/docker/client.ts";
import { createDockerDoor } from "../../../src/docker/door.ts";
import { notesIn, unenforcedIn } from "../../../src/docker/limits.ts";
import type { ListedNetwork } from "../../../src/docker/limits.ts";
import { createPrivileges } from "../../../src/docker/privileges.ts";
import type { DockerTruth, ReconcileReport } from "../../../src/engine/types.ts";
import { systemClock } from "../../../src/std/clock.ts";
import { createLog } from "../../../src/std/log.ts";
import { fakeDocker, until } from "./fake.ts";

const networks: readonly ListedNetwork[] = [
  { id: "n-shop", name: "shop", driver: "hawser", ours: true },
  { id: "n-wire", name: "wire", driver: "macvlan", ours: false },
  { id: "n-bridge", name: "bridge", driver: "bridge", ours: false },
  { id: "n-none", name: "none", driver: "null", ours: false },
];

interface Wanted {
  readonly mode?: string;
  readonly on?: Readonly<Record<string, string>>;
  readonly state?: string;
}

function container(name: string, { mode = "shop", on = {}, state = "running" }: Wanted = {}): ListedContainer {
  const listed = {
    Id: `id-${name}`, Names: [`/${name}`], State: state, HostConfig: { NetworkMode: mode },
    NetworkSettings: { Networks: Object.fromEntries(Object.entries(on).map(([key, id]) => [key, { NetworkID: id }])) },
  };
  // What Docker tells more of a container does not matter here.
  return listed as unknown as ListedContainer;
}

const notes = (...containers: readonly ListedContainer[]): Readonly<Record<string, readonly string[]>> => Object.fromEntries(notesIn(containers, networks));

test("R50: a running container that shares a namespace is named at its owner, by id or name, through any number of others", (t) => {
  t.deepEqual(
    notes(
      container("web", { on: { shop: "n-shop" } }), container("side", { mode: "container:id-web" }), container("far", { mode: "container:side" }),
      container("ended", { mode: "container:id-web", state: "exited" }), container("orphan", { mode: "container:id-gone" }),
    ),
    { "id-web": ["container far shares this network namespace and identity", "container side shares this network namespace and identity"] },
  );
});

test("R50: a second network of another driver is named, by its id or, before a first start, by its name; ours and none are not", (t) => {
  t.deepEqual(
    notes(
      container("web", { on: { shop: "n-shop", wire: "n-wire", bridge: "n-bridge" } }), container("new", { on: { shop: "", wire: "" } }),
      container("alone", { on: { shop: "n-shop" } }), container("quiet", { mode: "none", on: { none: "n-none" } }),
    ),
    {
      "id-web": [
        "also attached to network bridge (driver bridge), which Hawser does not enforce", "also attached to network wire (driver macvlan), which Hawser does not enforce",
      ],
      "id-new": ["also attached to network wire (driver macvlan), which Hawser does not enforce"],
    },
  );
});

test("R50: running containers on the host's own network, and those that share it, are told as not enforced; others are not", (t) => {
  t.deepEqual(
    unenforcedIn([
      container("web"), container("node", { mode: "host" }), container("agent", { mode: "container:id-node" }), container("ended", { mode: "host", state: "exited" }),
      container("plain", { mode: "bridge" }),
    ]),
    [{ name: "agent", why: "it shares the network of node, which is the host's own" }, { name: "node", why: "it is on the host's own network" }],
  );
});

test("R50: the status names what is not enforced, the first five of it", async (t) => {
  await using docker = await fakeDocker();
  const listed = (count: number): unknown => Array.from({ length: count }, (_, index) => container(`n${index}`, { mode: "host" }));
  const door = createDockerDoor({
    docker: openDocker(docker.socket), clock: systemClock, log: createLog(() => {}, () => 0),
    commands: { reconcile: async () => ({ removedEndpoints: [], removedNetworks: [], identified: 0, restored: [], refused: [] }), containerEnds: async () => {} },
  });
  const detail = async (count: number): Promise<string> => {
    docker.answers["/containers/json"] = listed(count);
    await door.sync("test");
    return door.status().detail;
  };
  t.is(await detail(1), "Docker 20.10.24 (API 1.41); not enforced: n0 (it is on the host's own network)");
  t.regex(await detail(7), /; not enforced: n0 \(.*\), .*n4 \(it is on the host's own network\) and 2 more$/);
  t.is(await detail(0), "Docker 20.10.24 (API 1.41)");
});

test("containers that name each other as owners of their namespace end no reading", (t) => {
  const circle = [container("a", { mode: "container:b" }), container("b", { mode: "container:a" })];
  t.deepEqual(notes(...circle), {});
  t.deepEqual(unenforcedIn(circle), []);
});

const inspected = (host: unknown, networks: Readonly<Record<string, unknown>> = {}): unknown => ({ HostConfig: host, NetworkSettings: { Networks: networks } });
const on = (...ids: readonly string[]) => ids.map((id) => ({ id, networks: ["n-shop"] }));

test("R50: privileged containers and those with telling capabilities are noted, each asked for once and forgotten with its container", async (t) => {
  await using docker = await fakeDocker();
  Object.assign(docker.answers, {
    "/containers/root/json": inspected({ Privileged: true, CapAdd: ["NET_ADMIN"] }),
    "/containers/admin/json": inspected({ Privileged: false, CapAdd: ["cap_net_admin", "CHOWN", "CAP_SYS_ADMIN"] }),
    "/containers/plain/json": inspected({ Privileged: false, CapAdd: null }),
    "/containers/all/json": inspected({ CapAdd: ["ALL"] }),
  });
  const privileges = createPrivileges(openDocker(docker.socket));
  t.true(await privileges.learn(on("root", "admin", "plain", "all", "gone")));
  t.deepEqual(["root", "admin", "plain", "all", "gone"].map((id) => privileges.notesOf(id)), [
    ["privileged: it may leave its namespace"],
    ["has NET_ADMIN: it may change its own addresses, routes and devices", "has SYS_ADMIN: it may leave its namespace"],
    [],
    ["has every capability: it may leave its namespace"],
    [],
  ]);
  docker.asked.length = 0;
  t.false(await privileges.learn(on("root", "admin", "plain")));
  t.deepEqual(docker.asked, []);
  t.deepEqual(privileges.notesOf("all"), []);
});

test("aliases are learnt for each network, asked for again when a container is connected to another, and are news only when there are some", async (t) => {
  await using docker = await fakeDocker();
  const id = "4f0c1234abcd".padEnd(64, "0");
  const place = (network: string, ...aliases: readonly string[]) => ({ [network]: { NetworkID: network, Aliases: aliases.length === 0 ? null : aliases } });
  docker.answers[`/containers/${id}/json`] = inspected({}, place("n-shop", "4f0c1234abcd"));
  const privileges = createPrivileges(openDocker(docker.socket));
  t.false(await privileges.learn([{ id, networks: ["n-shop"] }]));
  t.deepEqual([privileges.aliasesOf(id, "n-shop"), privileges.aliasesOf(id, "n-back"), privileges.aliasesOf("other", "n-shop")], [[], undefined, undefined]);
  docker.answers[`/containers/${id}/json`] = inspected({}, { ...place("n-shop", "4f0c1234abcd"), ...place("n-back", "www", "4f0c1234abcd", "api") });
  t.true(await privileges.learn([{ id, networks: ["n-shop", "n-back"] }]));
  t.deepEqual(privileges.aliasesOf(id, "n-back"), ["api", "www"]);
  docker.asked.length = 0;
  t.false(await privileges.learn([{ id, networks: ["n-back", "n-shop"] }]));
  t.deepEqual(docker.asked, []);
});

test("R50, R92: an inspection that waits holds no reading up, and what it tells comes with the next one", async (t) => {
  await using docker = await fakeDocker();
  const [shop, id, slow] = ["a".repeat(64), "1".repeat(64), "2".repeat(64)];
  const image = "sha256:1a";
  const answer = Promise.withResolvers<unknown>();
  Object.assign(docker.answers, {
    "/networks": [{ Id: shop, Name: "shop", Driver: "hawser", IPAM: { Driver: "default" } }],
    [`/networks/${shop}`]: {
      Id: shop, Name: "shop", Driver: "hawser",
      Containers: Object.fromEntries([id, slow].map((each) => [each, { Name: `c${each[0]}`, EndpointID: `e${each}`.slice(0, 64), MacAddress: "02:42:0a:2c:00:02" }])),
    },
    "/containers/json": [id, slow].map((each) => ({ Id: each, Names: [`/c${each[0]}`], ImageID: image, State: "running", Labels: {} })),
    [`/images/${image}/json`]: { Id: image, Config: { Labels: null } },
    [`/containers/${id}/json`]: () => answer.promise,
    [`/containers/${slow}/json`]: "silence",
  });
  const truths: DockerTruth[] = [];
  const reconcile = async (truth: DockerTruth): Promise<ReconcileReport> => {
    truths.push(truth);
    return { removedEndpoints: [], removedNetworks: [], identified: 0, restored: [], refused: [] };
  };
  const door = createDockerDoor({ docker: openDocker(docker.socket), commands: { reconcile, containerEnds: async () => {} }, clock: systemClock, log: createLog(() => {}, () => 0) });
  await door.sync("one");
  await until(() => docker.asked.includes(`GET /containers/${id}/json`));
  await door.sync("two");
  answer.resolve(inspected({ Privileged: true }));
  await until(() => truths.length === 3);
  const noted = truths.map(({ networks: [first] }) => first?.endpoints.map(({ container: owner }) => owner?.notes));
  t.deepEqual(noted, [[[], []], [[], []], [["privileged: it may leave its namespace"], []]]);
});
