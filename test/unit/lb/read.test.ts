// Service files: the contract's example, what is left out, the same as JSON, several in a file, and every mistake with its place and its mend.
import test from "ava";
import { defaults } from "../../../src/lb/document.ts";
import { timeText } from "../../../src/lb/fields.ts";
import { readServices } from "../../../src/lb/read.ts";
import { example, problemsIn, problemsOf, read, serviceWith } from "./given.ts";

test("the contract's example is read as it is meant", (t) => {
  const { place, frontends, backends, ...service } = read(example);
  t.deepEqual(place, { file: "web.yaml", line: 1, column: 10 });
  t.deepEqual(frontends.map(({ place: at, ...one }) => [one, at.line, at.column]), [
    [{ address: "203.0.113.10", port: 80, protocol: "tcp" }, 2, 13],
    [{ address: "2001:db8::10", port: 80, protocol: "tcp" }, 2, 36],
  ] as unknown);
  t.deepEqual(backends.map(({ place: at, ...one }) => [one, at.line]), [
    [{ kind: "select", network: "shop", labels: { app: "web" }, port: 8080, weight: 1 }, 4],
    [{ kind: "address", address: "192.0.2.7", port: 8080, weight: 2 }, 5],
  ] as unknown);
  t.deepEqual(service, {
    name: "web", mode: "auto", algorithm: "maglev", affinity: { by: "client", timeout: 3 * 3_600_000 }, drain: 30_000,
    sources: { allow: ["0.0.0.0/0"], deny: ["198.51.100.0/24"] },
    health: { kind: "http", path: "/healthz", interval: 2000, timeout: 1000, rise: 2, fall: 3 },
  } as unknown);
});

test("what is left out is the configuration's, or as the page says", (t) => {
  const { mode, algorithm, affinity, sources, health, drain } = read(serviceWith());
  t.deepEqual({ mode, algorithm, affinity, sources, drain }, { mode: null, algorithm: null, affinity: null, sources: { allow: null, deny: [] }, drain: 30_000 });
  t.deepEqual(health, { kind: "tcp", path: "/", interval: 2000, timeout: 1000, rise: 2, fall: 3 });
  t.is(read(serviceWith("affinity: { by: client }")).affinity?.timeout, 3 * 3_600_000);
  t.is(read(serviceWith("health: { kind: http }")).health.path, "/");
  t.is(timeText(defaults.drain), "30s");
});

test("a service with a frontend that is not TCP has no probes unless it says so", (t) => {
  t.is(read(serviceWith('frontends: ["203.0.113.10:53/udp", "203.0.113.10:53/tcp"]')).health.kind, "none");
  t.is(read(serviceWith('frontends: ["203.0.113.10:53/udp", "203.0.113.10:53/tcp"]', "health: { kind: tcp }")).health.kind, "tcp");
  t.is(read(serviceWith('frontends: ["203.0.113.10:8080/sctp"]')).health.kind, "none");
});

test("the same service as JSON is the same service", (t) => {
  const json = JSON.stringify({
    service: "web", frontends: ["203.0.113.10:80/tcp", "[2001:db8::10]:80/tcp"],
    backends: [{ select: { network: "shop", label: "app=web" }, port: 8080 }, { address: "192.0.2.7:8080", weight: 2 }],
    mode: "auto", algorithm: "maglev", affinity: { by: "client", timeout: "3h" }, sources: { allow: ["0.0.0.0/0"], deny: ["198.51.100.0/24"] },
    health: { kind: "http", path: "/healthz", interval: "2s", timeout: "1s", rise: 2, fall: 3 }, drain: "30s",
  });
  const withoutPlaces = (text: string): unknown => JSON.parse(JSON.stringify(read(text), (key, value: unknown) => (key === "place" ? undefined : value)));
  t.deepEqual(withoutPlaces(json), withoutPlaces(example));
});

test("labels are one text, several with commas, any value, or a map", (t) => {
  const labels = (label: string): unknown => {
    const [backend] = read(serviceWith(`backends: [{ select: { label: ${label} }, port: 8080 }]`)).backends;
    return backend?.kind === "select" ? backend.labels : undefined;
  };
  t.deepEqual(labels("app=web"), { app: "web" });
  t.deepEqual(labels('"app=web, tier"'), { app: "web", tier: null });
  t.deepEqual(labels("{ app: web, service: front }"), { app: "web", service: "front" });
});

test("a file may hold several services", (t) => {
  const text = `---\n${serviceWith()}---\n${serviceWith("service: api", 'frontends: ["203.0.113.10:81"]')}---\n# nothing\n`;
  t.deepEqual(readServices([{ file: "a.yaml", text }]).map(({ name, place }) => [name, place.line]), [["web", 2], ["api", 7]]);
});

test("two services with one frontend are refused with both places, and so are two of one name", (t) => {
  const one = { file: "one.yaml", text: serviceWith('frontends: ["[2001:db8::10]:80"]') };
  const two = { file: "two.yaml", text: serviceWith("service: api", 'frontends: ["203.0.113.10:80", "[2001:0db8:0:0::10]:80/tcp"]') };
  t.deepEqual(problemsIn(() => readServices([one, two])), [
    "two.yaml:3:32: [2001:db8::10]:80/tcp is taken: service web has it at one.yaml:3:13; give one of them another address or port",
  ]);
  t.deepEqual(problemsIn(() => readServices([{ file: "one.yaml", text: serviceWith() }, { file: "two.yaml", text: serviceWith('frontends: ["203.0.113.11:80"]') }])), [
    "two.yaml:1:10: there is another service web at one.yaml:1:10; a service's name is unique",
  ]);
  t.deepEqual(problemsOf(serviceWith('frontends: ["203.0.113.10:80", "203.0.113.10:80/tcp"]')), [
    "3:32: 203.0.113.10:80/tcp is taken: this service has it at web.yaml:3:13; give one of them another address or port",
  ]);
  t.is(readServices([{ file: "a.yaml", text: serviceWith('frontends: ["203.0.113.10:53/udp", "203.0.113.10:53/tcp", "203.0.113.10:54"]') }]).length, 1);
});

/** Of the line that is given, which is the last. */
const mistakes: readonly (readonly [line: string, ...problems: string[]])[] = [
  ["frontend: []", '4:1: "frontend" is no key of a service; did you mean "frontends"? The keys are service, frontends, backends, mode, algorithm, affinity, sources, health, drain'],
  ["service: a b", '3:10: "a b" is no name of a service: 1 to 63 letters, digits, dots, dashes or underscores, of which the first is a letter or a digit'],
  ["service: -x", '3:10: "-x" is no name of a service: 1 to 63 letters, digits, dots, dashes or underscores, of which the first is a letter or a digit'],
  ["frontends: []", '3:12: "frontends" is empty; it is written so: ["203.0.113.10:80/tcp"]'],
  ['frontends: 203.0.113.10:80', '3:12: "frontends" must be a list: ["203.0.113.10:80/tcp"]'],
  ['frontends: ["203.0.113.10"]', '3:14: "203.0.113.10" is no address with a port, as a frontend is written: 192.0.2.7:8080 or [2001:db8::7]:8080; its port is missing: 203.0.113.10:80'],
  ['frontends: ["2001:db8::10"]', '3:14: "2001:db8::10" is no address with a port, as a frontend is written: 192.0.2.7:8080 or [2001:db8::7]:8080; its port is missing: [2001:db8::10]:80'],
  ['frontends: ["203.0.113.300:80"]', '3:14: "203.0.113.300" is not an IPv4 or IPv6 address'],
  ['frontends: ["web:80"]', '3:14: "web" is not an IPv4 or IPv6 address; names are not looked up'],
  ['frontends: ["fd99::60:80"]', '3:14: "fd99::60:80" is no address with a port, as a frontend is written: 192.0.2.7:8080 or [2001:db8::7]:8080; did you mean [fd99::60]:80, or [fd99::60:80]:80?'],
  ['frontends: ["http://203.0.113.10:80"]', '3:14: "http://203.0.113.10:80" is no address with a port, as a frontend is written: 192.0.2.7:8080 or [2001:db8::7]:8080; it is no URL: leave out what is before the address and behind the port'],
  ['frontends: ["[::ffff:203.0.113.10]:80"]', '3:15: "::ffff:203.0.113.10" is not an IPv4 or IPv6 address: it is an IPv4 address within IPv6; write 203.0.113.10'],
  ['frontends: ["[fe80::1%eth0]:80"]', '3:15: "fe80::1%eth0" is not an IPv4 or IPv6 address: a zone (what is behind %) means one link of one host; write an address that means the same everywhere'],
  ['frontends: ["[2001:db8::x]:80"]', '3:15: "2001:db8::x" is not an IPv4 or IPv6 address'],
  ['frontends: ["203.0.113.10:0"]', '3:27: "0" is not a port: a whole number from 1 to 65535'],
  ['frontends: ["203.0.113.10:80/icmp"]', '3:30: "icmp" is no protocol of a frontend; there are tcp, udp, sctp'],
  ...([
    ["224.0.0.1", "is multicast, a group's"], ["255.255.255.255", "is broadcast, every host's"], ["240.0.0.1", "is reserved, and no host's"], ["0.0.0.0", "is no host's"],
    ["127.0.0.1", "is loopback, which every host and every container has for itself"], ["169.254.1.1", "is link-local, which routers do not pass on"],
  ] as const).map(([address, why]) => [`frontends: ["${address}:80"]`, `3:14: ${address} is no address that one service can have: it ${why}; give it a unicast address for which clients can ask, such as 203.0.113.10`] as const),
  ...([
    ["ff02::1", "is multicast, a group's"], ["::", "is no host's"], ["::1", "is loopback, which every host and every container has for itself"], ["febf::1", "is link-local, which routers do not pass on"],
  ] as const).map(([address, why]) => [`frontends: ["[${address}]:80"]`, `3:14: ${address} is no address that one service can have: it ${why}; give it a unicast address for which clients can ask, such as 2001:db8::10`] as const),
  ...([
    ["127.0.0.1", "is loopback, where every node finds itself"], ["0.0.0.0", "is no host's"], ["224.0.0.1", "is multicast, a group's"], ["169.254.169.254", "is link-local, and means another machine on every link"],
  ] as const).map(([address, why]) => [`backends: [{ address: ${address}:80 }]`, `3:23: ${address} is no address of a server: it ${why}; give the one at which the nodes reach it`] as const),
  ['backends: [{ address: "203.0.113.10:80" }]', "3:12: 203.0.113.10:80 is at the service's own address, so that it would ask itself; give the server's own address"],
  ['backends: [{ address: "203.0.113.10:81" }]', "3:12: 203.0.113.10:81 is at the service's own address, so that it would ask itself; give the server's own address"],
  ["backends: []", '3:11: "backends" is empty; it is written so: [{ select: { network: shop, label: "app=web" }, port: 8080 }]'],
  ["backends: [web]", "3:12: a backend is { select: { network: NAME, label: KEY=VALUE }, port: N } or { address: ADDRESS:PORT }"],
  ["backends: [{ port: 80 }]", '3:12: a backend has one of "select" and "address", and this has none: { select: { network: NAME, label: KEY=VALUE }, port: N } or { address: ADDRESS:PORT }'],
  ["backends: [{ select: { network: shop } }]", '3:12: a backend with "select" needs "port": the port on which the containers listen'],
  ["backends: [{ address: 192.0.2.7:80, port: 80 }]", "3:43: the port of a backend with an address is written behind it: { address: 192.0.2.7:8080 }"],
  ['frontends: ["[2001:db8::10]"]', '3:14: "[2001:db8::10]" is no address with a port, as a frontend is written: 192.0.2.7:8080 or [2001:db8::7]:8080; its port is missing: [2001:db8::10]:80'],
  ['frontends: ["203.0.113.10:80-90"]', '3:14: "203.0.113.10:80-90" is no address with a port, as a frontend is written: 192.0.2.7:8080 or [2001:db8::7]:8080; it has one port and no range: list one for each'],
  ["backends: [{ address: 192.0.2.7 }]", '3:23: "192.0.2.7" is no address with a port, as a backend is written: 192.0.2.7:8080 or [2001:db8::7]:8080; its port is missing: 192.0.2.7:80'],
  ["backends: [{ select: { netwrk: shop }, port: 80 }]", '3:24: "netwrk" is no key of "select"; did you mean "network"? The keys are network, label'],
  ["backends: [{ select: {}, port: 80 }]", '3:22: "select" needs "network", "label" or both: { network: shop, label: "app=web" }'],
  ['backends: [{ select: { label: "app=web, app=x" }, port: 80 }]', '3:31: the label "app" is here twice'],
  ['backends: [{ select: { label: "=x" }, port: 80 }]', '3:32: "=x" is no label; labels are written key=value, or key alone for any value'],
  ["backends: [{ address: 192.0.2.7:80, weight: 1001 }]", '3:45: "1001" is not a weight: a whole number from 0 to 1000'],
  ['frontends: ["203.0.113.10:80/tcp", "203.0.113.10:38412/sctp"]', "2:12: an SCTP port cannot be translated, so that backends of 38412/sctp must listen on 38412 and not on 8080; give it a service of its own, with that port"],
  ["backends: [{ address: '[2001:db8::7]:80' }]", "3:12: no frontend is IPv6, so that 2001:db8::7 would never be reached: addresses are not translated between families"],
  ["mode: drs", '4:7: "mode" is "drs", but must be auto, dsr or snat; did you mean dsr?'],
  ["algorithm: random", '4:12: "algorithm" is "random", but must be maglev'],
  ["affinity: client", '4:11: "affinity" must be a map of keys, such as { by: client }'],
  ["health: none", '4:9: "health" must be a map of keys, such as { kind: tcp } or { kind: none }'],
  ["sources: [10.0.0.0/8]", '4:10: "sources" must be a map of keys, such as { deny: [198.51.100.0/24] }'],
  ["health: { kind: tcp, interval: 500ms }", "4:32: the timeout (1s when it is left out) is longer than the interval, so that probes would overlap; write a shorter one, such as timeout: 500ms, or lengthen the interval"],
  ["health: { kind: tcp, timeout: 3s }", "4:31: the timeout is longer than the interval (2s when it is left out), so that probes would overlap; shorten it, or lengthen the interval"],
  ["\tdrain: 1s", "4:1: YAML indents by spaces, and this line by a tab; write spaces instead"],
  ["affinity: { timeout: 3h }", '4:11: "affinity" needs "by": { by: client, timeout: 3h }'],
  ["affinity: { by: cookie }", '4:17: "by" is "cookie", but must be client'],
  ["affinity: { by: client, timeout: 0s }", "4:34: 0s is out of range: from 1s to 30d"],
  ["sources: { allow: [] }", '4:19: "allow" is empty, so that nobody could come; for everyone leave it out'],
  ["sources: { deny: [10.0.0.1/8, web] }", '4:19: "10.0.0.1/8" has bits set behind its prefix length; the network is 10.0.0.0/8', '4:31: "web" is not an IPv4 or IPv6 address'],
  ["health: { path: / }", '4:9: "health" needs "kind": tcp, http or none'],
  ["health: { kind: tcp, path: / }", '4:28: "path" is for probes of the kind http, and this one is tcp'],
  ["health: { kind: http, path: healthz }", '4:29: "healthz" is no path of a request: it begins with a slash, and has no spaces'],
  ["health: { kind: tcp, interval: 1s, timeout: 2s }", "4:45: the timeout is longer than the interval, so that probes would overlap; shorten it, or lengthen the interval"],
  ["health: { kind: tcp, rise: 0 }", '4:28: "0" is not a number of answers: a whole number from 1 to 100'],
  ["drain: 30", '4:8: "30" is no time; one is written 500ms, 30s, 5m, 3h or 1d; did you mean 30s?'],
  ["drain: 2d", "4:8: 2d is out of range: from 0s to 1d"],
  ["drain:", '4:1: "drain" has no value; was the file cut off? Write one, or leave the key out'],
];

for (const [line, ...problems] of mistakes) {
  test(`refused with its place: ${line}`, (t) => t.deepEqual(problemsOf(serviceWith(line)), problems));
}

test("addresses that look like those that no service can have are services'", (t) => {
  for (const address of ["126.255.255.255", "128.0.0.1", "169.253.1.1", "223.255.255.1", "[fe::1]", "[fec0::1]", "[ff::1]", "[::2]"]) t.is(read(serviceWith(`frontends: ["${address}:80"]`)).frontends.length, 1, address);
});

test("keys that a service needs", (t) => {
  t.deepEqual(problemsOf("frontends: []\n"), ["1:1: a service needs a name: service: NAME. Is this a service file?"]);
  t.deepEqual(problemsOf('service: web\nbackends: [{ address: 192.0.2.7:80 }]\n'), ['1:1: a service needs "frontends": ["203.0.113.10:80/tcp"]']);
  t.deepEqual(problemsOf('service: web\nfrontends: ["203.0.113.10:80"]\n'), ['1:1: a service needs "backends": [{ select: { network: shop, label: "app=web" }, port: 8080 }]']);
  t.deepEqual(problemsOf("# nothing\n"), ["1:1: the file holds no service: it is empty, or has comments alone"]);
  t.deepEqual(problemsOf("policy: shop\nfor: all\n"), [
    '1:1: "policy" is no key of a service; the keys are service, frontends, backends, mode, algorithm, affinity, sources, health, drain',
    "1:1: a service needs a name: service: NAME. Is this a service file?",
    '2:1: "for" is no key of a service; the keys are service, frontends, backends, mode, algorithm, affinity, sources, health, drain',
  ]);
});

test("a server that answers for itself must listen on the service's port", (t) => {
  const backends = "backends: [{ address: 192.0.2.7:8080 }]";
  t.deepEqual(problemsOf(serviceWith(backends, "mode: dsr")), [
    "3:12: with mode dsr a server answers as the service itself, so that it must listen on the service's own port 80 and not on 8080; use mode auto or snat, or that port",
  ]);
  t.is(read(serviceWith(backends, "mode: snat")).mode, "snat");
  t.is(read(serviceWith("backends: [{ address: 192.0.2.7:80 }]", "mode: dsr")).mode, "dsr");
});

test("probes of a service that has no port of TCP are refused", (t) => {
  t.deepEqual(problemsOf(serviceWith('frontends: ["203.0.113.10:53/udp"]', "health: { kind: tcp }")), [
    "3:13: probes of the kind tcp need a port of TCP, and the service has none; write health: { kind: none }",
  ]);
});

test("the message has one line for each problem of each file, and the code says that it is a service", (t) => {
  const error = t.throws(() => readServices([{ file: "a.yaml", text: serviceWith("mode: x") }, { file: "b.yaml", text: serviceWith("service: b", "drain: x") }]));
  t.like(error, { code: "BAD_SERVICE", name: "ServiceProblems" });
  t.is(error.message, [
    'a.yaml:4:7: "mode" is "x", but must be auto, dsr or snat',
    'b.yaml:4:8: "x" is no time; one is written 500ms, 30s, 5m, 3h or 1d',
  ].join("\n"));
});
