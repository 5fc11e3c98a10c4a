// Whose an endpoint is, asked while its container starts: what counts as its own, how much Docker is asked, and what silence costs.
import test from "ava";
import { openDocker } from "../../../src/docker/client.ts";
import { createDockerDoor } from "../../../src/docker/door.ts";
import type { DockerDoor } from "../../../src/docker/door.ts";
import type { ContainerIdentity, DockerTruth, EndpointRef, ReconcileReport } from "../../../src/engine/types.ts";
import { systemClock } from "../../../src/std/clock.ts";
import type { Clock } from "../../../src/std/clock.ts";
import { createLog } from "../../../src/std/log.ts";
import { fakeDocker, listOf, until } from "./fake.ts";
import type { FakeDocker } from "./fake.ts";

const network = "a".repeat(64);
const image = `sha256:${"1a".repeat(32)}`;
const hex = (index: number): string => index.toString(16).padStart(64, "0");
const ref = (index: number): EndpointRef => ({ network, id: hex(index) }) as EndpointRef;

interface Container {
  readonly index: number;
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly image?: string;
  /** Its endpoint's key is already its id: Docker from 28 on, or a container that runs. */
  readonly running?: boolean;
  readonly platform?: { readonly os: string; readonly architecture: string };
}

const idOf = ({ index }: Container): string => hex(0xc000 + index);

function fill(docker: FakeDocker, containers: readonly Container[], imageLabels: Readonly<Record<string, string>> | null = {}): void {
  docker.answers[`/networks/${network}`] = () => ({
    Id: network, Name: "shop", Driver: "hawser",
    Containers: Object.fromEntries(containers.map((each) => [
      each.running ? idOf(each) : `ep-${hex(each.index)}`, { Name: each.name, EndpointID: hex(each.index), MacAddress: "02:42:0a:2c:00:02", IPv4Address: "10.44.0.2/26" },
    ])),
  });
  docker.answers["/networks"] = [{ Id: network, Name: "shop", Driver: "hawser", IPAM: { Driver: "default" } }];
  docker.answers["/containers/json"] = listOf(() => containers.map((each) => ({
    Id: idOf(each), Names: [`/${each.name}`], ImageID: each.image ?? image, State: each.running ? "running" : "created", Labels: each.labels ?? {},
    ...(each.platform && { ImageManifestDescriptor: { platform: each.platform } }),
  })));
  docker.answers[`/images/${image}/json`] = { Id: image, Os: "linux", Architecture: "amd64", Config: imageLabels && { Labels: imageLabels } };
}

/** What the door chooses to wait, in milliseconds: the machine's own slowness is not in it. */
interface Waits {
  readonly asleep: number[];
  readonly limits: number[];
}

/** `deadline` in the clock's stead: limits that a test lets pass itself. */
function open(docker: FakeDocker, deadline = (ms: number): AbortSignal => systemClock.deadline(ms)): { readonly door: DockerDoor; readonly truths: readonly DockerTruth[]; readonly waits: Waits } {
  const waits: Waits = { asleep: [], limits: [] };
  const clock: Clock = {
    now: () => systemClock.now(),
    sleep: (ms, signal) => (waits.asleep.push(ms), systemClock.sleep(ms, signal)),
    deadline: (ms) => (waits.limits.push(ms), deadline(ms)),
  };
  const truths: DockerTruth[] = [];
  const reconcile = async (truth: DockerTruth): Promise<ReconcileReport> => {
    truths.push(truth);
    return { removedEndpoints: [], removedNetworks: [], identified: 0, restored: [], refused: [] };
  };
  return { truths, waits, door: createDockerDoor({ docker: openDocker(docker.socket), commands: { reconcile, containerEnds: async () => {} }, clock, log: createLog(() => {}, () => 0) }) };
}

const never = new AbortController().signal;

/** A first call also loads the client's library, which the agent does before it answers Docker. */
async function warm(door: DockerDoor): Promise<void> {
  await door.sync("start").catch(() => undefined);
}

async function identityOf(containers: readonly Container[], imageLabels?: Readonly<Record<string, string>> | null, index = 1): Promise<ContainerIdentity | null> {
  await using docker = await fakeDocker();
  fill(docker, containers, imageLabels);
  const { door } = open(docker);
  await warm(door);
  return await door.whose(ref(index), never);
}

test.serial("R88: a label that the image brings is not the container's own, unless the container gives it another value", async (t) => {
  const labels = { "tier": "db", "role": "admin", "vendor": "acme", "com.docker.compose.service": "web", "com.docker.compose.project": "shop" };
  const owner = await identityOf(
    [{ index: 1, name: "web", labels }], { "role": "admin", "vendor": "other", "com.docker.compose.service": "web", "com.docker.compose.project": "forged" },
  );
  t.deepEqual(owner, {
    id: hex(0xc001), name: "web", labels, own: { "tier": "db", "vendor": "acme", "com.docker.compose.project": "shop" }, notes: [],
  });
});

for (const [what, container, config, note] of [
  ["is gone", { image: "sha256:gone" }, {}, /^its image is gone or cannot be read, so .* none counts for policy that opens, all for policy that closes$/],
  ["has no configuration any more", {}, null, /^its image is gone or cannot be read/],
  ["is shown for another platform", { platform: { os: "linux", architecture: "arm64" } }, {}, /^its image is shown for linux\/amd64 and it runs linux\/arm64/],
] as const) {
  test.serial(`R88: a container whose image ${what} has only labels that may be its own, and a note says so`, async (t) => {
    const owner = await identityOf([{ index: 1, name: "web", labels: { tier: "db" }, ...container }], config);
    t.like(owner, { name: "web", labels: { tier: "db" }, own: {}, doubtful: { tier: "db" } });
    t.is(owner?.notes?.length, 1);
    t.regex(owner?.notes?.[0] ?? "", note);
  });
}

test.serial("an endpoint's container is found by its name while it starts and by its id afterwards", async (t) => {
  const starting = { index: 1, name: "web.1" };
  const running = { index: 2, name: "db", running: true };
  const containers = [{ index: 3, name: "web-1" }, { index: 4, name: "my-web.1" }, starting, running];
  t.is((await identityOf(containers, {}, 1))?.id, idOf(starting));
  t.is((await identityOf(containers, {}, 2))?.id, idOf(running));
  t.is(await identityOf(containers, {}, 9), null);
});

test.serial("R92: 50 at a time ask for two readings and one image, never for a container", async (t) => {
  await using docker = await fakeDocker();
  fill(docker, Array.from({ length: 50 }, (_, index) => ({ index, name: `c${index}`, labels: { n: String(index) } })));
  const { door } = open(docker);
  await warm(door);
  docker.asked.length = 0;
  const owners = await Promise.all(Array.from({ length: 50 }, (_, index) => door.whose(ref(index), never)));
  t.deepEqual(owners.map((owner) => owner?.own), Array.from({ length: 50 }, (_, index) => ({ n: String(index) })));
  t.deepEqual(docker.asked.filter((call) => !call.includes("/images/")), [
    `GET /networks/${network}`, "GET /containers/json", `GET /networks/${network}`, "GET /containers/json",
  ]);
  t.true(docker.asked.filter((call) => call.includes("/images/")).length <= 1);
});

test.serial("who asks while a reading runs is answered by the next one, which began after the question", async (t) => {
  await using docker = await fakeDocker();
  const containers: Container[] = [{ index: 1, name: "one" }];
  fill(docker, containers);
  const { door } = open(docker);
  await warm(door);
  const read = docker.answers[`/networks/${network}`] as () => unknown;
  const gate = Promise.withResolvers<undefined>();
  let readings = 0;
  docker.answers[`/networks/${network}`] = async () => {
    readings += 1;
    const told = read();
    if (readings === 1) await gate.promise;
    return told;
  };
  const one = door.whose(ref(1), never);
  await until(() => readings === 1);
  containers.push({ index: 2, name: "two" });
  const two = door.whose(ref(2), never);
  gate.resolve(undefined);
  t.deepEqual([(await one)?.name, (await two)?.name], ["one", "two"]);
  t.is(readings, 2);
});

test.serial("an image that is slow to read holds up its own container alone", async (t) => {
  await using docker = await fakeDocker();
  fill(docker, [{ index: 1, name: "slow", image: "sha256:slow" }, { index: 2, name: "fast" }]);
  docker.answers["/images/sha256:slow/json"] = "silence";
  const limit = new AbortController();
  const { door } = open(docker, () => limit.signal);
  await door.whose(ref(2), never);
  const [slow, fast] = [door.whose(ref(1), never), door.whose(ref(2), never)];
  t.is((await fast)?.name, "fast");
  limit.abort();
  t.is(await slow, null);
});

test.serial("a silent Docker costs a start 300 ms once, and nothing more until it has answered again", async (t) => {
  await using docker = await fakeDocker();
  fill(docker, [{ index: 1, name: "web" }]);
  const network1 = docker.answers[`/networks/${network}`];
  docker.answers[`/networks/${network}`] = "silence";
  const { door, truths, waits } = open(docker);
  await t.throwsAsync(door.sync("start", AbortSignal.timeout(500)));
  t.is(await door.whose(ref(1), never), null);
  t.deepEqual(new Set(waits.limits), new Set([300]));
  const before = [docker.asked.length, waits.limits.length];
  t.is(await door.whose(ref(1), never), null);
  t.deepEqual([docker.asked.length, waits.limits.length], before);
  docker.answers[`/networks/${network}`] = network1;
  await door.sync("Docker is back");
  t.is(truths.length, 1);
  t.is((await door.whose(ref(1), never))?.name, "web");
});

test.serial("a start that is given up is not waited for", async (t) => {
  await using docker = await fakeDocker();
  fill(docker, [{ index: 1, name: "web" }]);
  const { door } = open(docker);
  await warm(door);
  docker.answers[`/networks/${network}`] = "silence";
  const started = new AbortController();
  const given = door.whose(ref(1), started.signal);
  const limit = systemClock.sleep(2000).then(() => "the door's own limit");
  started.abort();
  t.is(await Promise.race([given, limit]), null);
  t.is(await door.whose(ref(1), AbortSignal.abort()), null);
});

test.serial("one image that Docker cannot tell in time leaves what is known of its container, and the others are told", async (t) => {
  await using docker = await fakeDocker();
  fill(docker, [{ index: 1, name: "slow", image: "sha256:slow" }, { index: 2, name: "fast" }, { index: 3, name: "broken", image: "sha256:broken" }]);
  docker.answers["/images/sha256:slow/json"] = "silence";
  docker.answers["/images/sha256:broken/json"] = new Error("layer does not exist");
  const { door, truths } = open(docker);
  await door.sync("test");
  t.deepEqual(truths[0]?.networks[0]?.endpoints.map(({ container }) => container && [container.name, container.notes?.length]), [null, ["fast", 0], ["broken", 1]]);
});

for (const [type, action] of [["container", "rename"], ["network", "connect"], ["network", "disconnect"], ["container", "start"], ["container", "die"], ["container", "destroy"]] as const) {
  test.serial(`R3: what the event "${type} ${action}" changes reaches the engine within 250 ms`, async (t) => {
    await using docker = await fakeDocker();
    const containers: Container[] = [{ index: 1, name: "old", running: true }];
    fill(docker, containers);
    docker.answers[`/containers/${idOf(containers[0] as Container)}/json`] = { HostConfig: { Privileged: false, CapAdd: null } };
    const { door, truths, waits } = open(docker);
    const controller = new AbortController();
    const following = door.run(controller.signal);
    await until(() => truths.length === 1);
    containers[0] = { index: 1, name: "new", running: true };
    waits.asleep.length = 0;
    docker.say(`${JSON.stringify({ Type: type, Action: action })}\n`);
    await until(() => truths.length === 2);
    t.true(waits.asleep.reduce((sum, ms) => sum + ms, 0) < 250, `the door chose to wait ${waits.asleep.join(" and ")} ms`);
    t.is(truths[1]?.networks[0]?.endpoints[0]?.container?.name, "new");
    controller.abort();
    await following;
  });
}
