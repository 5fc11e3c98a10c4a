// The door to Docker: what is read, when it is read, and what happens when Docker is not there.
import { readFileSync, readdirSync } from "node:fs";
import test from "ava";
import { DockerAbsent, openDocker } from "../../../src/docker/client.ts";
import { createDockerDoor } from "../../../src/docker/door.ts";
import { linesOf, meaningOf } from "../../../src/docker/events.ts";
import { isStopping } from "../../../src/docker/stopping.ts";
import { createImages } from "../../../src/docker/images.ts";
import { readTruth } from "../../../src/docker/truth.ts";
import type { DockerTruth, ReconcileReport } from "../../../src/engine/types.ts";
import { systemClock } from "../../../src/std/clock.ts";
import { createLog } from "../../../src/std/log.ts";
import { fakeDocker, until } from "./fake.ts";

const [shop, plain] = ["a".repeat(64), "b".repeat(64)];
const image = `sha256:${"1a".repeat(32)}`;
const [running, starting] = ["1".repeat(64), "2".repeat(64)];
const [endpoint1, endpoint2, endpoint3] = ["e1".repeat(32), "e2".repeat(32), "e3".repeat(32)];

const world = {
  "/networks": [
    { Id: shop, Name: "shop", Driver: "hawser", IPAM: { Driver: "hawser", Config: [{ Subnet: "10.44.0.0/26", Gateway: "10.44.0.1" }] } },
    { Id: plain, Name: "bridge", Driver: "bridge", IPAM: { Driver: "default", Config: [{ Subnet: "172.17.0.0/16" }] } },
    { Id: "c".repeat(64), Name: "odd", Driver: "macvlan", IPAM: { Driver: "hawser", Config: [{ Subnet: "10.44.0.64/26" }] } },
  ],
  [`/networks/${shop}`]: {
    Id: shop, Name: "shop", Driver: "hawser", EnableIPv6: false, Internal: true, Options: { "hawser.icc": "false" },
    IPAM: { Driver: "hawser", Config: [{ Subnet: "10.44.0.0/26", Gateway: "10.44.0.1", IPRange: "10.44.0.32/27", AuxiliaryAddresses: { a: "10.44.0.5" } }] },
    Containers: {
      [running]: { Name: "db", EndpointID: endpoint1, MacAddress: "02:42:0a:2c:00:02", IPv4Address: "10.44.0.2/26", IPv6Address: "" },
      [`ep-${endpoint2}`]: { Name: "web", EndpointID: endpoint2 },
      [`ep-${endpoint3}`]: { Name: "nobody", EndpointID: endpoint3 },
    },
  },
  [`/networks/${"c".repeat(64)}`]: {
    Id: "c".repeat(64), Name: "odd", Driver: "macvlan", IPAM: { Driver: "hawser", Config: [{ Subnet: "10.44.0.64/26" }] },
    Containers: { [running]: { Name: "db", EndpointID: "e4".repeat(32), MacAddress: "02:42:0a:2c:00:42", IPv4Address: "10.44.0.66/26", IPv6Address: "" } },
  },
  "/containers/json": [
    { Id: running, Names: ["/web/db", "/db"], ImageID: image, State: "running", Labels: { tier: "db", vendor: "acme" } },
    { Id: starting, Names: ["/web"], ImageID: image, State: "created", Labels: {} },
  ],
  [`/images/${image}/json`]: { Id: image, Os: "linux", Architecture: "amd64", Config: { Labels: { vendor: "acme" } } },
};

function truthOf(socket: string): Promise<DockerTruth> {
  const docker = openDocker(socket);
  return readTruth({ docker, images: createImages(docker), notesOf: () => [], aliasesOf: () => undefined, now: () => 0 });
}

function door(socket: string) {
  const truths: DockerTruth[] = [];
  const report: ReconcileReport = { removedEndpoints: [], removedNetworks: [], identified: 0, restored: [], refused: [] };
  const reconcile = async (truth: DockerTruth): Promise<ReconcileReport> => {
    truths.push(truth);
    return report;
  };
  const log = createLog(() => {}, () => 0);
  return { truths, ...createDockerDoor({ docker: openDocker(socket), commands: { reconcile, containerEnds: async () => {} }, clock: systemClock, log }) };
}

test("the truth names our networks and how they were made, their endpoints by container id or, while it starts, by name, and our pools", async (t) => {
  await using docker = await fakeDocker();
  Object.assign(docker.answers, world);
  const truth = await truthOf(docker.socket);
  t.deepEqual(truth, {
    askedAt: 0,
    networks: [{
      id: shop, name: "shop",
      made: {
        id: shop, ipv4: [{ pool: "10.44.0.0/26", gateway: "10.44.0.1", aux: { a: "10.44.0.5" } }], ipv6: [], internal: true, enableIpv4: true, enableIpv6: false,
        options: { "hawser.icc": "false" },
      },
      endpoints: [
        {
          id: endpoint1, container: { id: running, name: "db", labels: { tier: "db", vendor: "acme" }, own: { tier: "db" }, notes: [] },
          running: { ipv4: "10.44.0.2/26", ipv6: null, mac: "02:42:0a:2c:00:02" },
        },
        { id: endpoint2, container: { id: starting, name: "web", labels: {}, own: {}, notes: [] } },
        { id: endpoint3, container: null },
      ],
    }],
    pools: [
      { prefix: "10.44.0.0/26", range: "10.44.0.32/27", gateway: "10.44.0.1", aux: ["10.44.0.5"], addresses: ["10.44.0.2/26"] },
      { prefix: "10.44.0.64/26", range: null, gateway: null, aux: [], addresses: ["10.44.0.66/26"] },
    ],
    unenforced: [],
  } as never);
});

test("a container on more than one network, of whatever driver, is known as such", async (t) => {
  await using docker = await fakeDocker();
  const on = (...names: readonly string[]): unknown => ({ Networks: Object.fromEntries(names.map((name) => [name, { NetworkID: name }])) });
  const [db, web] = world["/containers/json"];
  Object.assign(docker.answers, world, { "/containers/json": [{ ...db, NetworkSettings: on("shop", "bridge") }, { ...web, NetworkSettings: on("shop") }] });
  const { networks } = await truthOf(docker.socket);
  t.deepEqual(networks[0]?.endpoints.map(({ container }) => container?.several), [true, undefined, undefined]);
});

test("R92: a reading asks for lists, networks and images, never for a container", async (t) => {
  await using docker = await fakeDocker();
  Object.assign(docker.answers, world);
  await truthOf(docker.socket);
  t.deepEqual(docker.asked, [
    "GET /networks", `GET /networks/${shop}`, `GET /networks/${"c".repeat(64)}`, "GET /containers/json", `GET /images/${image}/json`,
  ]);
});

test("R92: one file inspects containers, behind the readings, and no handler of Docker's calls reaches it", (t) => {
  const folder = new URL("../../../src/docker/", import.meta.url);
  const using = (pattern: RegExp): readonly string[] =>
    readdirSync(folder).filter((file) => pattern.test(readFileSync(new URL(file, folder), "utf8"))).toSorted();
  t.deepEqual(using(/getContainer\s*\(/), ["client.ts"]);
  t.deepEqual(using(/inspectContainer\b/), ["client.ts", "privileges.ts"]);
  t.deepEqual(using(/privileges\.learn\b/), ["door.ts"]);
  // What a handler waits for: nothing of it may wait for what is learnt behind the readings.
  const door = readFileSync(new URL("door.ts", folder), "utf8");
  t.notRegex(/const whose = [\s\S]*?\n {2}\};\n/.exec(door)?.[0] ?? "learn", /learn/);
  t.notRegex(door, /await privileges/);
  const handlers = new URL("../../../src/libnetwork/", import.meta.url);
  for (const file of readdirSync(handlers)) t.notRegex(readFileSync(new URL(file, handlers), "utf8"), /dockerode|docker\.sock|from "\.\.\/docker/, file);
});

test("a network that goes while it is read is gone, not an error", async (t) => {
  await using docker = await fakeDocker();
  Object.assign(docker.answers, world, { [`/networks/${shop}`]: undefined });
  const truth = await truthOf(docker.socket);
  t.deepEqual(truth.networks, []);
});

test("without a socket, and with a silent one, Docker is absent and the door says so", async (t) => {
  await t.throwsAsync(openDocker("/nonexistent/docker.sock").version(), { instanceOf: DockerAbsent, message: /does not answer on \/nonexistent\/docker\.sock/ });
  await using docker = await fakeDocker();
  docker.answers["/version"] = "silence";
  await t.throwsAsync(openDocker(docker.socket).version(), { instanceOf: DockerAbsent, message: /no answer within 300 ms/ });
  const nobody = door("/nonexistent/docker.sock");
  await t.throwsAsync(nobody.sync("test"), { instanceOf: DockerAbsent });
  t.like(nobody.status(), { part: "docker", state: "degraded" });
});

test("a failed reading reconciles nothing", async (t) => {
  await using docker = await fakeDocker();
  Object.assign(docker.answers, world, { "/containers/json": "silence" });
  const { sync, truths } = door(docker.socket);
  await t.throwsAsync(sync("test", AbortSignal.timeout(200)));
  t.deepEqual(truths, []);
});

test("many nudges make one reading, and one that comes during a reading makes one more", async (t) => {
  await using docker = await fakeDocker();
  Object.assign(docker.answers, world);
  const { nudge, truths, status } = door(docker.socket);
  for (let i = 0; i < 20; i++) nudge("test");
  await until(() => truths.length === 1);
  for (let i = 0; i < 20; i++) nudge("test");
  await until(() => truths.length === 2);
  await new Promise((resolve) => setTimeout(resolve, 150));
  t.is(truths.length, 2);
  t.deepEqual(status(), { part: "docker", state: "ok", detail: "Docker 20.10.24 (API 1.41)" });
});

test("R93: events cause a reading; a lost stream is followed by a full one", async (t) => {
  await using docker = await fakeDocker();
  const { run, truths, status } = door(docker.socket);
  const controller = new AbortController();
  const running = run(controller.signal);
  await until(() => truths.length === 1);
  docker.say(`${JSON.stringify({ Type: "network", Action: "connect" })}\n`);
  await until(() => truths.length === 2);
  docker.say(`${JSON.stringify({ Type: "container", Action: "exec_start: sh" })}\n`);
  docker.hangUp();
  await until(() => truths.length === 3);
  t.is(docker.asked.filter((call) => call === "GET /events").length, 2);
  t.is(status().state, "ok");
  controller.abort();
  await running;
});

test("R93: a daemon that comes back is found again", async (t) => {
  const { run, truths, status } = await (async () => {
    await using docker = await fakeDocker();
    return door(docker.socket);
  })();
  const controller = new AbortController();
  const following = run(controller.signal);
  await until(() => status().state === "degraded" && status().detail !== "not asked yet");
  t.deepEqual(truths, []);
  controller.abort();
  await following;
});

test("events may come in pieces or several at once", async (t) => {
  const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield encode('{"a":1}\n{"b"');
    yield encode(":2}\n\n");
    const split = encode('{"c":"ü"}\n');
    yield split.subarray(0, 7);
    yield split.subarray(7);
  }
  const lines: string[] = [];
  for await (const line of linesOf(chunks())) lines.push(line);
  t.deepEqual(lines, ['{"a":1}', '{"b":2}', '{"c":"ü"}']);
});

test("only events that can change something for us mean something", (t) => {
  t.deepEqual(meaningOf('{"Type":"network","Action":"connect"}'), { kind: "changed", what: "network connect" });
  t.deepEqual(meaningOf('{"Type":"container","Action":"rename"}'), { kind: "changed", what: "container rename" });
  t.is(meaningOf('{"Type":"container","Action":"exec_create: ls"}'), undefined);
  t.is(meaningOf('{"Type":"image","Action":"pull"}'), undefined);
  t.is(meaningOf("not json"), undefined);
});

test("a signal to a container is told with what it was and when", (t) => {
  const event = { Type: "container", Action: "kill", Actor: { ID: "c1", Attributes: { signal: "15", name: "web" } }, time: 1_700_000_000 };
  const line = JSON.stringify(event).replace(/}$/, ',"timeNano":1700000000123456789}');
  t.deepEqual(meaningOf(line), { kind: "signal", containerId: "c1", signal: "15", at: 1_700_000_000_123 });
});

test("R76: a container stops at its own stop signal, SIGTERM where it has none, and not at any other", (t) => {
  t.true(isStopping("15", undefined));
  t.true(isStopping("15", ""));
  t.false(isStopping("1", undefined));
  t.true(isStopping("3", "SIGQUIT"));
  t.true(isStopping("3", "quit"));
  t.true(isStopping("37", "SIGRTMIN+3"));
  t.false(isStopping("15", "SIGQUIT"));
  t.false(isStopping("9", "SIGKILL"));
});
