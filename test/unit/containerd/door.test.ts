// The door to containerd: whom it takes for a guest, how it follows events, and what happens when containerd is not there.
import { statSync } from "node:fs";
import { dirname } from "node:path";
import test from "ava";
import { ContainerdAbsent, openContainerd } from "../../../src/containerd/client.ts";
import { createContainerdDoor } from "../../../src/containerd/door.ts";
import type { DockerTask } from "../../../src/containerd/door.ts";
import type { NamespaceDevice } from "../../../src/containerd/types.ts";
import type { Guest, GuestReport } from "../../../src/engine/types.ts";
import { systemClock } from "../../../src/std/clock.ts";
import { createLog } from "../../../src/std/log.ts";
import { container, fakeContainerd, process as task, shelf, until } from "./fake.ts";

/** A task must be a process that lives: this one, whose namespace the kernel is then said to have filled with devices. */
const { pid } = process;
const own = statSync("/proc/self/ns/net");
const eth0: NamespaceDevice = { name: "eth0", index: 2, mac: "02:00:00:00:00:01", kind: "veth", host: { name: "veth1", index: 7 }, addresses: ["10.88.0.2/24"] };

interface Options {
  readonly namespaces?: readonly string[];
  readonly docker?: boolean;
  readonly refuse?: () => boolean;
}

function door(socket: string, { namespaces = [], docker = true, refuse = () => false }: Options = {}) {
  const told: (readonly Guest[])[] = [];
  const lines: string[] = [];
  const devices: NamespaceDevice[] = [eth0];
  const made = createContainerdDoor({
    containerd: openContainerd(socket), namespaces, docker, clock: systemClock, log: createLog((line) => lines.push(line), () => 0),
    inspect: async (paths) => paths.map(() => ({ id: `${own.dev}:${own.ino}`, own: false, devices: [...devices] })),
    commands: {
      syncGuests: async ({ guests }): Promise<GuestReport> => {
        told.push(guests);
        if (refuse()) throw new Error("the kernel refused");
        return { added: [], removed: [], refused: [] };
      },
    },
    cniResults: "/nonexistent",
  });
  const last = (): readonly string[] => (told.at(-1) ?? []).map(({ id }) => id);
  return { told, lines, devices, last, ...made };
}

/** Runs a door beside a test's steps. */
async function following(door: { run(signal: AbortSignal): Promise<void> }, steps: () => Promise<void>): Promise<void> {
  const controller = new AbortController();
  const running = door.run(controller.signal);
  try {
    await steps();
  } finally {
    controller.abort();
    await running;
  }
}

const running = (id: string, labels: Record<string, string> = {}) => shelf({ containers: [container(id, labels)], tasks: [task(id, pid)] });

test("running containers of every namespace are told of, but for Docker's and for Kubernetes' (R97)", async (t) => {
  await using containerd = await fakeContainerd();
  Object.assign(containerd.shelves, { default: running("web", { tier: "web" }), "k8s.io": running("pod"), other: shelf({ containers: [container("idle")] }) });
  const { sync, told, status } = door(containerd.socket);
  await sync("test");
  t.deepEqual(told.map((guests) => guests.map(({ id, own, ipv4, device }) => [id, own, ipv4, device])), [[["default/web", { tier: "web" }, "10.88.0.2", "veth1"]]]);
  t.deepEqual(status(), { part: "containerd", state: "ok", detail: "containerd 1.6.20; 1 container wired by others" });
  t.false(containerd.asked.some((call) => call.startsWith("k8s.io")), "nor is anything of it read");
});

test("a namespace that the configuration names is followed, k8s.io too, and no other (R97)", async (t) => {
  await using containerd = await fakeContainerd();
  Object.assign(containerd.shelves, { default: running("web"), "k8s.io": running("pod") });
  const { sync, last } = door(containerd.socket, { namespaces: ["k8s.io"] });
  await sync("test");
  t.deepEqual(last(), ["k8s.io/pod"]);
});

test("what lives in a Docker container's namespace is Docker's, and of Docker only the tasks are read (R97)", async (t) => {
  await using containerd = await fakeContainerd();
  Object.assign(containerd.shelves, { default: running("sidecar"), moby: running("a".repeat(64)) });
  const { sync, last, told } = door(containerd.socket);
  await sync("test");
  t.is(told.length, 1);
  t.deepEqual(last(), []);
  t.deepEqual(containerd.asked.filter((call) => call.startsWith("moby")), ["moby tasks"]);
});

test("without a socket containerd is absent, nothing is told, and the status says so", async (t) => {
  const { sync, told, status } = door("/nonexistent/containerd.sock");
  await t.throwsAsync(sync("test"), { instanceOf: ContainerdAbsent, message: /does not answer on \/nonexistent\/containerd\.sock/ });
  t.like(status(), { part: "containerd", state: "degraded" });
  t.deepEqual(told, []);
});

test("a container is told of when its task is created, and gone when that ends", async (t) => {
  await using containerd = await fakeContainerd();
  containerd.shelves["default"] = shelf();
  const watched = door(containerd.socket);
  await following(watched, async () => {
    await until(() => watched.told.length === 1);
    containerd.shelves["default"]?.containers.push(container("web", { tier: "web" }));
    containerd.created("default", "web");
    containerd.taskCreated("default", "web", pid);
    await until(() => watched.last().includes("default/web"));
    t.is(watched.told.at(-1)?.[0]?.ipv4, null, "its network is not known while it is wired");
    containerd.taskStarted("default", "web", pid);
    await until(() => watched.told.at(-1)?.[0]?.ipv4 === "10.88.0.2");
    const count = watched.told.length;
    containerd.taskEnded("default", "web", pid, "an-exec");
    containerd.taskEnded("default", "web", pid + 1);
    containerd.shelves["default"]?.containers.splice(0, 1, container("web", { tier: "db" }));
    containerd.updated("default", "web");
    await until(() => watched.told.length > count);
    t.deepEqual(watched.told.at(-1)?.[0]?.own, { tier: "db" }, "the end of an exec, and of an older task, ends nothing; a new label counts (R59)");
    containerd.taskEnded("default", "web", pid);
    await until(() => watched.last().length === 0);
  });
});

test("a cable that comes after the task is found without any event", async (t) => {
  await using containerd = await fakeContainerd();
  containerd.shelves["default"] = running("web");
  const watched = door(containerd.socket);
  watched.devices.length = 0;
  await following(watched, async () => {
    await until(() => watched.told.length === 1);
    t.deepEqual(watched.last(), []);
    watched.devices.push(eth0);
    await until(() => watched.last().length === 1);
    t.deepEqual(watched.last(), ["default/web"]);
  });
});

test("R93: what happens while a subscription is being taken up is not missed", async (t) => {
  await using containerd = await fakeContainerd();
  containerd.shelves["default"] = shelf();
  containerd.deaf = true;
  const watched = door(containerd.socket);
  await following(watched, async () => {
    await until(() => containerd.subscribers() === 1);
    await new Promise((resolve) => setTimeout(resolve, 100));
    t.deepEqual(watched.told, [], "nobody knows yet whether events come");
    containerd.shelves["default"] = running("web");
    containerd.deaf = false;
    await until(() => watched.last().includes("default/web"));
    t.pass();
  });
});

test("R93, R97: after a lost stream everything is read anew: what came and went meanwhile is known", async (t) => {
  await using containerd = await fakeContainerd();
  containerd.shelves["default"] = running("web");
  const watched = door(containerd.socket);
  await following(watched, async () => {
    await until(() => watched.last().includes("default/web"));
    containerd.hangUp();
    containerd.shelves["default"] = running("db");
    await until(() => watched.last().includes("default/db"));
    t.deepEqual(watched.last(), ["default/db"]);
    await until(() => watched.status().state === "ok");
    t.true(watched.lines.some((line) => line.includes("containerd does not answer")));
  });
});

test("R93: a containerd that comes back is found again", async (t) => {
  const first = await fakeContainerd();
  first.shelves["default"] = running("web");
  const watched = door(first.socket);
  await following(watched, async () => {
    await until(() => watched.last().includes("default/web"));
    await first[Symbol.asyncDispose]();
    await until(() => watched.status().state === "degraded");
    t.deepEqual(watched.last(), ["default/web"], "and until then what is known stays");
    await using second = await fakeContainerd(dirname(first.socket));
    second.shelves["default"] = running("db");
    await until(() => watched.last().includes("default/db"));
    t.is(watched.status().state, "ok");
  });
});

test("what the engine could not take up is told again", async (t) => {
  await using containerd = await fakeContainerd();
  containerd.shelves["default"] = shelf();
  let refusals = 1;
  const watched = door(containerd.socket, { refuse: () => watched.last().length > 0 && refusals-- > 0 });
  await following(watched, async () => {
    await until(() => watched.told.length === 1);
    containerd.shelves["default"] = running("web");
    containerd.created("default", "web");
    containerd.taskStarted("default", "web", pid);
    await until(() => watched.told.length === 3);
    t.deepEqual(watched.told.slice(1).map((guests) => guests.map(({ id }) => id)), [["default/web"], ["default/web"]]);
  });
});

test("starts and ends of Docker's tasks are told to who asks, but not those of others", async (t) => {
  await using containerd = await fakeContainerd();
  containerd.shelves["default"] = shelf();
  const watched = door(containerd.socket);
  const seen: DockerTask[] = [];
  using listening = watched.onDockerTask((docker) => seen.push(docker));
  await following(watched, async () => {
    await until(() => watched.told.length === 1);
    containerd.taskCreated("moby", "abc", pid);
    containerd.taskStarted("moby", "abc", pid);
    containerd.taskEnded("moby", "abc", pid, "exec-1");
    containerd.taskStarted("default", "web", pid);
    containerd.taskEnded("moby", "abc", pid);
    await until(() => seen.length === 2);
    t.deepEqual(seen.map(({ containerId, what }) => [containerId, what]), [["abc", "started"], ["abc", "ended"]]);
    t.true(seen.every(({ at }) => Math.abs(at - Date.now()) < 60_000));
    listening[Symbol.dispose]();
    containerd.taskEnded("moby", "abc", pid);
    await new Promise((resolve) => setTimeout(resolve, 50));
    t.is(seen.length, 2);
  });
});

test("of an image's name that means another image later, what it meant at first is remembered (R88)", async (t) => {
  await using containerd = await fakeContainerd();
  const target = { mediaType: "", digest: "sha256:m", size: 0n, annotations: {} };
  containerd.shelves["default"] = {
    containers: [container("web", { role: "admin", tier: "web" }, { image: "shop" })], tasks: [task("web", pid)],
    images: [{ name: "shop", labels: {}, target, createdAt: undefined, updatedAt: { seconds: 1n, nanos: 0 } }],
  };
  containerd.content["sha256:m"] = JSON.stringify({ config: { digest: "sha256:c" } });
  containerd.content["sha256:c"] = JSON.stringify({ config: { Labels: { role: "admin" } }, rootfs: { diff_ids: [] } });
  const { sync, told } = door(containerd.socket);
  await sync("test");
  containerd.content["sha256:c"] = JSON.stringify({ config: {}, rootfs: { diff_ids: [] } });
  await sync("test");
  t.deepEqual(told.map(([guest]) => guest?.own), [{ tier: "web" }, { tier: "web" }]);
});
