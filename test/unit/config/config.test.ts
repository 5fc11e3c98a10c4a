// The configuration: every key of the contract, its default, and what a mistake is told.
import { readFileSync } from "node:fs";
import test from "ava";
import { parse } from "yaml";
import { loadConfig, parseConfig } from "../../../src/config/load.ts";
import { leaves, reference } from "../../../src/config/reference.ts";
import { schema } from "../../../src/config/schema.ts";
import { HawserError } from "../../../src/std/errors.ts";

const root = new URL("../../../", import.meta.url);

test("an empty file, an empty group and no file at all mean the contract's defaults", (t) => {
  const expected = {
    node: { name: null, address: "auto", devices: "auto" },
    pool: { ipv4: "10.44.0.0/16", ipv4NodePrefix: 24, ipv6: "fd44::/48", ipv6NodePrefix: 64 },
    routing: { mode: "overlay", encapsulation: "vxlan", port: 8472, direct: true, probePort: 8473, mtu: "auto", masquerade: true },
    store: { kind: "embedded", endpoints: [], prefix: "/hawser/", user: null, passwordFile: null, tls: { ca: null, cert: null, key: null } },
    peers: [],
    policy: { directory: "/etc/hawser/policy.d", betweenNetworks: "deny", published: "allow", untilIdentified: "deny", unenforced: "allow" },
    services: { directory: "/etc/hawser/service.d" },
    loadBalancer: { mode: "auto", dispatch: "geneve", algorithm: "maglev", maglevTable: 16381, acceleration: "auto" },
    docker: { enabled: true, socket: "/run/docker.sock", pluginDirectory: "/run/docker/plugins" },
    containerd: { enabled: true, socket: "/run/containerd/containerd.sock", namespaces: [] },
    api: { socket: "/run/hawser/hawser.sock", group: "hawser" },
    metrics: { listen: "127.0.0.1:9964" },
    paths: { state: "/var/lib/hawser", run: "/run/hawser", bpffs: "/sys/fs/bpf/hawser", cgroup: "auto" },
  };
  t.deepEqual(parseConfig("", "hawser.yaml"), expected as never);
  t.deepEqual(parseConfig("docker:\nstore: { tls: }\npeers:\n", "hawser.yaml"), expected as never);
});

test("a file that was named must exist", (t) => {
  const error = t.throws(() => loadConfig("/nonexistent/hawser.yaml"), { instanceOf: HawserError });
  t.is(error.code, "BAD_CONFIG");
  t.regex(error.message, /\/nonexistent\/hawser\.yaml cannot be read/);
});

test("every value that may be set arrives", (t) => {
  const config = parseConfig(`
node: { name: edge-1, address: 192.0.2.7, devices: [eth0, bond1.7] }
pool: { ipv4: 10.50.0.0/20, ipv4NodePrefix: 22, ipv6: null }
routing: { mode: native, mtu: 1400, masquerade: false }
policy: { betweenNetworks: allow }
docker: { enabled: false, socket: /tmp/docker.sock }
metrics: { listen: null }
paths: { cgroup: /sys/fs/cgroup/unified/a }
`, "hawser.yaml");
  t.deepEqual(config.node, { name: "edge-1", address: "192.0.2.7", devices: ["eth0", "bond1.7"] });
  t.is(config.pool.ipv6, null);
  t.is(config.routing.mtu, 1400);
  t.is(config.docker.pluginDirectory, "/run/docker/plugins");
  t.is(config.metrics.listen, null);
});

const mistakes: readonly (readonly [text: string, said: RegExp])[] = [
  ["nod:\n  name: x\n", /^f:1:1: "nod" is no key; did you mean "node"\?/],
  ["node:\n  nme: x\n", /^f:2:3: "node\.nme" is no key; did you mean "name"\? The keys here are name, address, devices$/],
  ["node:\n  xyzzy: x\n", /"node\.xyzzy" is no key; the keys here are name/],
  ["pool:\n  ipv4: 10.0.0.0\n", /^f:2:3: "pool\.ipv4" is "10\.0\.0\.0", but must be an IPv4 prefix/],
  ["pool: { ipv4: fd00::/16 }", /must be an IPv4 prefix/],
  ["pool: { ipv4NodePrefix: 12 }", /"pool\.ipv4NodePrefix" is 12, but a slice cannot be larger than the pool 10\.44\.0\.0\/16/],
  ["docker: { enabled: maybe }", /^f:1:11: "docker\.enabled" is "maybe", but must be true or false$/],
  ["docker: { socket: docker.sock }", /must be an absolute path/],
  ["routing:\n  mode: fast\n  mtu: 5\n", /^f:2:3: "routing\.mode" is "fast", but must be overlay or native; f:3:3: "routing\.mtu" is 5, but must be auto or a whole number from 1280 to 65535$/],
  ["routing: { port: '8472' }", /"routing\.port" is "8472", but must be a whole number from 1 to 65535/],
  ["peers:\n  - { name: a, adress: 192.0.2.1 }\n", /f:2:16: "peers\[0\]\.adress" is no key; did you mean "address"\?/],
  ["peers: [{ name: a }]", /f:1:9: "peers\[0\]\.address" is missing, but must be an IPv4 or IPv6 address or a list, each an IPv4 or IPv6 address$/],
  ["peers: 3", /"peers" is 3, but must be a list/],
  ["__proto__: { a: 1 }", /is no key/],
  ["node: { devices: eth0 }", /must be auto or a list/],
  ["metrics: { listen: 'localhost:1' }", /must be an address with a port, such as 127\.0\.0\.1:9964, or null$/],
  ["metrics: { listen: '127.0.0.1:65536' }", /must be an address with a port/],
  ["loadBalancer: { maglevTable: 16380 }", /must be a prime number/],
  ["loadBalancer: { maglevTable: 2 }", /^f:1:17: "loadBalancer.maglevTable" is 2, but must be a prime number from 101 to 1048583$/],
  ["store: { kind: etcd }", /"store\.endpoints" must name at least one address when store\.kind is etcd/],
  ["store: { endpoints: ['https://10.0.0.1:2379'] }", /^f:1:10: "store\.endpoints" names etcd's addresses, so store\.kind must be etcd$/],
  ["store: { kind: etcd, endpoints: ['10.0.0.1:2379'] }", /"store\.endpoints" is \["10\.0\.0\.1:2379"\], but must be a list, each an address such as https:\/\/10\.0\.0\.1:2379, http or https, without a path$/],
  ["store: { kind: etcd, endpoints: ['http://10.0.0.1:2379/v3'] }", /without a path$/],
  ["store: { kind: etcd, endpoints: ['http://me:secret@10.0.0.1:2379'] }", /without a path$/],
  ["store: { kind: etcd, endpoints: ['http://10.0.0.1:2379'], prefix: hawser }", /"store\.prefix" is "hawser", but must be a prefix that begins and ends with a slash/],
  ["store: { kind: etcd, endpoints: ['http://10.0.0.1:2379'], user: me }", /^f:1:1: "store\.passwordFile" must name the file with the password of store\.user$/],
  ["store: { kind: etcd, endpoints: ['http://10.0.0.1:2379'], passwordFile: /p }", /"store\.user" must say whose password store\.passwordFile holds$/],
  ["store: { kind: etcd, endpoints: ['http://10.0.0.1:2379'], password: p }", /"store\.password" is no key/],
  ["store: { user: me, passwordFile: /p }", /"store\.user" is etcd's, so store\.kind must be etcd/],
  ["store: { kind: etcd, endpoints: ['http://10.0.0.1:2379'], tls: { ca: /ca } }", /"store\.tls" is for https, but no address in store\.endpoints begins with https:\/\/$/],
  ["store: { kind: etcd, endpoints: ['https://10.0.0.1:2379'], tls: { cert: /c } }", /"store\.tls\.key" must name the key of the certificate store\.tls\.cert$/],
  ["store: { kind: etcd, endpoints: ['https://10.0.0.1:2379'], tls: { key: /k } }", /"store\.tls\.cert" must name the certificate that store\.tls\.key belongs to$/],
  ["store: { kind: etcd, endpoints: ['http://10.0.0.1:2379'] }\npeers: [{ name: a, address: 192.0.2.1 }]", /^f:2:1: "peers" must be empty when store\.kind is etcd/],
  ["- a", /the configuration is \["a"\], but must be a group of keys/],
  ["a: b: c", /^f:1:4: /],
  ["node: { name: x, name: y }", /Map keys must be unique/],
];

for (const [text, said] of mistakes) {
  test(`${JSON.stringify(text)} is refused with its key, its place and what is allowed`, (t) => {
    const error = t.throws(() => parseConfig(text, "f"), { instanceOf: HawserError });
    t.is(error.code, "BAD_CONFIG");
    t.regex(error.message, said);
  });
}

const later: readonly (readonly [text: string, key: string])[] = [
  ["loadBalancer: { dispatch: ipip }", "loadBalancer.dispatch: ipip"],
  ["loadBalancer: { algorithm: random }", "loadBalancer.algorithm: random"],
];

for (const [text, key] of later) {
  test(`what this build cannot do is refused by name, never ignored: ${key}`, (t) => {
    const error = t.throws(() => parseConfig(text, "f"), { instanceOf: HawserError });
    t.is(error.code, "UNSUPPORTED");
    t.true(error.message.startsWith(`f:1:17: this build does not support "${key}"`), error.message);
  });
}

test("etcd is configured by its addresses alone, or with all that TLS and a user need", (t) => {
  t.deepEqual(parseConfig("store: { kind: etcd, endpoints: ['http://[fd00::1]:2379'] }", "f").store, {
    kind: "etcd", endpoints: ["http://[fd00::1]:2379"], prefix: "/hawser/", user: null, passwordFile: null, tls: { ca: null, cert: null, key: null },
  });
  const whole = { kind: "etcd", endpoints: ["https://a:2379", "https://b"], prefix: "/x/", user: "me", passwordFile: "/p", tls: { ca: "/ca", cert: "/c", key: "/k" } };
  t.deepEqual(parseConfig(JSON.stringify({ store: whole }), "f").store as unknown, whole);
});

test("R90: a file of aliases that grows without end is refused", (t) => {
  const bomb = ["a: &a [x,x,x,x,x,x,x,x,x]", ..."bcdefghi".split("").map((name, i) => `${name}: &${name} [${Array(9).fill(`*${"abcdefgh"[i]}`).join(",")}]`)].join("\n");
  const error = t.throws(() => parseConfig(bomb, "f"), { instanceOf: HawserError });
  t.is(error.code, "BAD_CONFIG");
});

test("the packaged file parses, and says nothing but defaults", (t) => {
  const text = readFileSync(new URL("packaging/hawser.yaml", root), "utf8");
  t.deepEqual(parseConfig(text, "packaging/hawser.yaml"), parseConfig("", ""));
  t.true(Object.keys(parse(text) as object).length > 4);
});

test("docs/configuration.md is what the schema says, and names every key", (t) => {
  const page = readFileSync(new URL("docs/configuration.md", root), "utf8");
  t.is(page, reference(), "stale: run node tools/config-docs.ts");
  for (const [name, node] of Object.entries(schema.keys)) {
    for (const { path } of leaves(name, node)) t.true(page.includes(`| \`${path}\` |`), path);
  }
});
