// From containers and namespaces to guests: who is one, who is not, and what of them is believed.
import test from "ava";
import { decodeResult, resultOf } from "../../../src/containerd/cni.ts";
import type { CniResult } from "../../../src/containerd/cni.ts";
import { guestsOf } from "../../../src/containerd/guests.ts";
import type { Entry, NamespaceDevice, NamespaceView } from "../../../src/containerd/types.ts";
import { container } from "./fake.ts";

const mac = "02:00:00:00:00:01";
const device = (parts: Partial<NamespaceDevice> = {}): NamespaceDevice =>
  ({ name: "eth0", index: 2, mac, kind: "veth", host: { name: "veth1", index: 7 }, addresses: ["10.88.0.2/24", "fd88::2/64"], ...parts });
const view = (devices: readonly NamespaceDevice[], id = "4:1"): NamespaceView => ({ id, own: false, devices });
const entry = (id: string, labels: Record<string, string> = {}, parts: Partial<Entry> = {}): Entry => ({
  namespace: "default", id, container: container(id, labels), image: { known: true, labels: {} }, task: { pid: 10, started: true, since: 0 }, ...parts,
});
const starting = { task: { pid: 10, started: false, since: 0 } };
const written = (parts: Partial<CniResult> = {}): CniResult =>
  ({ network: "edge", container: "default-web", hostDevices: ["cni0", "veth1"], macs: [mac], addresses: ["10.88.0.2/24", "fd88::2/64"], ...parts });

test("a container with a veth is a guest, with its network as CNI wrote it down", (t) => {
  const outcome = guestsOf([{ view: view([device()]), members: [entry("web", { tier: "web" })] }], [written()]);
  t.deepEqual(outcome, {
    guests: [{
      id: "default/web", name: "web", containerId: "web", network: "edge", device: "veth1", ifindex: 7, ipv4: "10.88.0.2", ipv6: "fd88::2", mac,
      labels: { tier: "web" }, own: { tier: "web" }, notes: [],
    }],
    unjudged: [], unfinished: false,
  });
});

test("R88: labels of the image are shown and do not count; a value of the container's own does", (t) => {
  const image = { known: true, labels: { role: "admin", tier: "web", "nerdctl/name": "lies", "nerdctl/networks": '["trusted"]' } } as const;
  const labels = { role: "admin", tier: "db", "nerdctl/name": "lies", "nerdctl/networks": '["trusted"]' };
  const [guest] = guestsOf([{ view: view([device()]), members: [entry("web", labels, { image })] }], []).guests;
  t.deepEqual(guest?.labels, labels);
  t.deepEqual(guest?.own, { tier: "db" });
  t.is(guest?.name, "web", "nor do an image's words on name and network");
  t.is(guest?.network, "");
});

test("R88: when the image's labels cannot be known, its labels may all be its own, and that is said", (t) => {
  const [guest] = guestsOf([{ view: view([device()]), members: [entry("web", { tier: "db" }, { image: { known: false, why: "its image x is gone" } })] }], []).guests;
  t.deepEqual([guest?.own, guest?.doubtful], [{}, { tier: "db" }]);
  t.deepEqual(guest?.notes, ["its image x is gone, so that its labels count only for what closes"]);
});

test("nerdctl's labels name the container and its network", (t) => {
  const labels = { "nerdctl/name": "shop-db", "nerdctl/networks": '["shop"]' };
  t.like(guestsOf([{ view: view([device()]), members: [entry("9f", labels)] }], []).guests[0], { id: "default/9f", name: "shop-db", network: "shop" });
  t.like(guestsOf([{ view: view([device()]), members: [entry("9f", { "nerdctl/networks": "no json" })] }], []).guests[0], { name: "9f", network: "" });
});

test("R50: containers of one namespace are one guest of the oldest, or of the pod's sandbox, and the others are named", (t) => {
  const [old, young] = [entry("b"), entry("a", {}, { container: container("a", {}, { createdAt: { seconds: 2000n, nanos: 0 } }) })];
  const { guests } = guestsOf([{ view: view([device()]), members: [young, old] }], []);
  t.deepEqual(guests.map(({ id, notes }) => [id, notes]), [["default/b", ["default/a shares its network and its identity"]]]);
  const sandbox = entry("pod", {}, { container: container("pod", { "io.cri-containerd.kind": "sandbox" }, { createdAt: { seconds: 3000n, nanos: 0 } }) });
  t.is(guestsOf([{ view: view([device()]), members: [young, old, sandbox] }], []).guests[0]?.containerId, "pod");
  const lying = { ...sandbox, image: { known: true, labels: { "io.cri-containerd.kind": "sandbox" } } } as const;
  t.not(guestsOf([{ view: view([device()]), members: [young, old, lying] }], []).guests[0]?.containerId, "pod", "R88: an image makes nobody the speaker of others");
});

test("R50: a container in the host's network, and a device with no end on the host, are said not to be judged", (t) => {
  t.deepEqual(guestsOf([{ view: { id: "4:1", own: true, devices: [] }, members: [entry("web")] }], []),
    { guests: [], unjudged: ["default/web uses the host's network"], unfinished: false });
  t.deepEqual(guestsOf([{ view: view([device({ kind: "macvlan", host: null })]), members: [entry("web")] }], []),
    { guests: [], unjudged: ["default/web has eth0 (macvlan), which has no end on this host"], unfinished: true });
});

test("a veth of Hawser's own is no guest", (t) => {
  t.deepEqual(guestsOf([{ view: view([device({ host: { name: "hw0123456789a", index: 9 } })]), members: [entry("web")] }], []).guests, []);
});

test("several interfaces are several guests, each with its own network", (t) => {
  const second = device({ name: "eth1", index: 3, mac: "02:00:00:00:00:02", host: { name: "veth2", index: 8 }, addresses: ["10.89.0.2/24"] });
  const other = written({ network: "back", hostDevices: ["cni1", "veth2"], macs: ["02:00:00:00:00:02"], addresses: ["10.89.0.2/24"] });
  const { guests } = guestsOf([{ view: view([second, device()]), members: [entry("web")] }], [other, written()]);
  t.deepEqual(guests.map(({ id, network, device, ipv4 }) => [id, network, device, ipv4]),
    [["default/web", "edge", "veth1", "10.88.0.2"], ["default/web@eth1", "back", "veth2", "10.89.0.2"]]);
});

test("before the task starts no address counts until its network is known; a started one is as it is", (t) => {
  const early = guestsOf([{ view: view([device()]), members: [entry("web", {}, starting)] }], []);
  t.true(early.unfinished);
  t.like(early.guests[0], { ipv4: null, ipv6: null, network: "" }, "its identity would be another with its network");
  t.true(guestsOf([{ view: view([]), members: [entry("web", {}, starting)] }], []).unfinished, "its veth may be to come");
  const wired = guestsOf([{ view: view([device()]), members: [entry("web", {}, starting)] }], [written()]);
  t.false(wired.unfinished);
  t.like(wired.guests[0], { ipv4: "10.88.0.2", network: "edge" });
  const started = guestsOf([{ view: view([device()]), members: [entry("web")] }], []);
  t.false(started.unfinished);
  t.like(started.guests[0], { ipv4: "10.88.0.2", network: "" });
  t.true(guestsOf([{ view: view([device({ addresses: [] })]), members: [entry("web")] }], []).unfinished, "its address may be to come");
});

test("R51: addresses and MAC that a container gives itself count for nothing where CNI wrote down what it was given", (t) => {
  const disguised = device({ mac: "02:00:00:00:00:99", addresses: ["10.88.0.77/24"] });
  t.like(guestsOf([{ view: view([disguised]), members: [entry("web")] }], [written()]).guests[0], { ipv4: "10.88.0.2", ipv6: "fd88::2", mac, network: "edge" });
});

test("R51: an address that two claim is his to whom CNI gave it; with no proof it is nobody's", (t) => {
  const thief = device({ mac: "02:00:00:00:00:02", host: { name: "veth2", index: 8 }, addresses: ["10.88.0.2/24"] });
  const households = [{ view: view([device()]), members: [entry("web")] }, { view: view([thief], "4:2"), members: [entry("thief")] }];
  const [web, other] = guestsOf(households, [written()]).guests;
  t.like(web, { ipv4: "10.88.0.2", notes: [] });
  t.like(other, { ipv4: null, notes: ["10.88.0.2: claimed by another container too, so that nothing is taken for its own"] });
  t.deepEqual(guestsOf(households, []).guests.map(({ ipv4 }) => ipv4), [null, null]);
  t.is(guestsOf(households, []).guests[0]?.ipv6, "fd88::2", "what nobody disputes stays");
});

test("an address beyond one of each family is said to be of no use", (t) => {
  const [guest] = guestsOf([{ view: view([device({ addresses: ["10.88.0.2/24", "10.88.0.3/24"] })]), members: [entry("web")] }], []).guests;
  t.deepEqual(guest?.notes, ["of eth0's addresses only the first of each family may be used: not 10.88.0.3/24"]);
});

/** As libcni 1.1 wrote it for `ctr run --cni` under a bridge configuration. */
const cached = {
  kind: "cniCacheV1", containerId: "default-one", config: "", ifName: "eth0", networkName: "edge",
  result: {
    cniVersion: "0.4.0", dns: {},
    interfaces: [
      { mac: "02:79:29:bd:d1:0b", name: "cni0" }, { mac: "de:20:20:64:4b:8a", name: "veth671a4c57" },
      { mac: "22:08:C4:db:16:02", name: "eth0", sandbox: "/proc/1187/ns/net" },
    ],
    ips: [{ address: "10.88.0.2/24", gateway: "10.88.0.1", interface: 2, version: "4" }, { address: "fd88::2/64", gateway: "fd88::1", interface: 2, version: "6" }],
  },
};

test("libcni's record of a container is understood; another file, half a file and an old kind are not", (t) => {
  t.deepEqual(decodeResult(JSON.stringify(cached)), {
    network: "edge", container: "default-one", hostDevices: ["cni0", "veth671a4c57"], macs: ["22:08:c4:db:16:02"], addresses: ["10.88.0.2/24", "fd88::2/64"],
  });
  t.is(decodeResult(JSON.stringify(cached).slice(0, 200)), undefined);
  t.is(decodeResult(JSON.stringify({ ...cached, kind: "other" })), undefined);
  t.is(decodeResult(JSON.stringify({ ...cached, result: { ip4: { ip: "10.0.0.1/24" } } })), undefined);
  t.is(decodeResult("null"), undefined);
});

test("the record of an earlier container of the same name is not taken for this one's", (t) => {
  t.is(resultOf([written({ hostDevices: ["cni0", "vethold"] })], ["default-web"], { host: "veth1", mac }), undefined);
  const endless = written({ hostDevices: [] });
  t.is(resultOf([endless], ["default-web"], { host: "veth1", mac }), endless, "a plugin that names no end on the host is known by the MAC");
  t.is(resultOf([endless], ["default-other"], { host: "veth1", mac }), undefined);
});
