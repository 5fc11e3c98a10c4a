// Labels to identities: which count, when two are the same, and how they are shown.
import test from "ava";
import fc from "fast-check";
import { bookkeeping, displayLabels, identityKey, referencedNames, relevantLabels } from "../../../src/policy/identity.ts";
import { readPolicies } from "../../../src/policy/read.ts";
import type { IdentityLabels } from "../../../src/policy/types.ts";

const compose = {
  "com.docker.compose.project": "shop", "com.docker.compose.service": "web", "com.docker.compose.container-number": "7", "com.docker.compose.config-hash": "abc",
  "org.opencontainers.image.version": "1", "desktop.docker.io/wsl": "1", "io.containerd.x": "1", "nerdctl/name": "x", maintainer: "me", "org.label-schema.name": "x",
  tier: "front", "hawser.default.in": "deny",
};

test("the identity is network, project, service and the container's own labels, without bookkeeping", (t) => {
  t.deepEqual(relevantLabels({ network: "shop_default", name: "shop-web-7", own: compose }, new Set()), {
    network: "shop_default", project: "shop", service: "web", name: null, own: { "hawser.default.in": "deny", tier: "front" },
  });
});

test("a name counts only while somebody refers to it, so that a thousand replicas are one identity", (t) => {
  const replicas = (referenced: ReadonlySet<string>) => new Set(Array.from({ length: 1000 }, (_, i) => identityKey(relevantLabels({
    network: "n", name: `web-${i}`, own: { ...compose, "com.docker.compose.container-number": String(i) },
  }, referenced))));
  t.is(replicas(new Set(["db"])).size, 1);
  t.is(replicas(new Set(["web-5"])).size, 2);
});

test("R88: labels that the container does not have itself give neither project nor service", (t) => {
  t.deepEqual(relevantLabels({ network: "n", name: "x", own: {} }, new Set(["x"])), { network: "n", project: null, service: null, name: "x", own: {} });
  t.is(relevantLabels({ network: "n", name: "x", own: { "com.docker.compose.project": "" } }, new Set()).project, null);
});

test("bookkeeping is what tools write for themselves", (t) => {
  const counts = ["tier", "hawser.allow.in", "com.example.x", "maintainers", "com.dockerish"];
  t.deepEqual(Object.keys(compose).concat(counts).filter((key) => !bookkeeping(key)), ["tier", "hawser.default.in", ...counts]);
});

const word = fc.oneof(fc.string({ maxLength: 6 }), fc.constantFrom("network", "doubtful:a", "doubtful:name", "label:network", "label:label:name", "name", "__proto__", "a", "", "[", '","', "constructor"));
const own = fc.array(fc.tuple(word, word), { maxLength: 4 }).map((entries) => Object.fromEntries(entries));
const sure: fc.Arbitrary<IdentityLabels> = fc.record({ network: word, project: fc.option(word), service: fc.option(word), name: fc.option(word), own });
/** Some have a project or more labels that may be their own. */
const labelled: fc.Arbitrary<IdentityLabels> = fc.oneof(sure, fc.tuple(sure, own, fc.option(word)).map(([one, more, project]) => {
  const supposed: IdentityLabels = { ...one, project: one.project ?? project, own: { ...more, ...one.own } };
  return same(one, supposed) ? one : { ...one, doubtful: supposed };
}));

/** What the two are compared by: nothing of the code under test. */
function same(a: IdentityLabels, b: IdentityLabels): boolean {
  const keys = Object.keys(a.own);
  return a.network === b.network && a.project === b.project && a.service === b.service && a.name === b.name
    && keys.length === Object.keys(b.own).length && keys.every((key) => Object.hasOwn(b.own, key) && a.own[key] === b.own[key])
    && (a.doubtful === undefined || b.doubtful === undefined ? a.doubtful === b.doubtful : same(a.doubtful, b.doubtful));
}

test("two sets of labels have one key exactly when they are the same, whatever they hold", (t) => {
  fc.assert(fc.property(labelled, labelled, (a, b) => {
    t.is(identityKey(a) === identityKey(b), same(a, b));
    t.is(identityKey(a), identityKey({ ...a, own: Object.fromEntries(Object.entries(a.own).reverse()) }));
  }), { numRuns: 500 });
});

test("two that are shown alike are the same, and no own label passes for a field", (t) => {
  fc.assert(fc.property(labelled, labelled, (a, b) => {
    const [shownA, shownB] = [displayLabels(a), displayLabels(b)];
    t.is(JSON.stringify(Object.entries(shownA).sort()) === JSON.stringify(Object.entries(shownB).sort()), same(a, b));
    t.is(shownA["network"], a.network);
  }), { numRuns: 500 });
  t.deepEqual(displayLabels({ network: "n", project: null, service: "web", name: null, own: { network: "fake", project: "fake", tier: "db" } }), {
    network: "n", service: "web", "label:network": "fake", "label:project": "fake", tier: "db",
  });
});

test("the names that policies speak of are those of peers, of name labels, of scopes and of tests", (t) => {
  const text = [
    "policy: a", 'for: { label: "name=scoped" }', "allow:", "  - web, other/api -> 10.0.0.1:80", "  - label(name=labelled, tier=db) -> net(shop)", "deny: [any -> db:5432]",
    "tests:", '  - { from: tester, to: "shop/tested:5432/udp", expect: allow }', '  - { from: "label(name=lab, x=y)", to: world, expect: deny }', "",
  ].join("\n");
  t.deepEqual([...referencedNames(readPolicies([{ file: "a.yaml", text }]))].sort(), ["api", "db", "lab", "labelled", "scoped", "tested", "tester", "web", "world"]);
});

test("no container passes for the host or the world in what is shown of flows", (t) => {
  const labels = relevantLabels({ network: "shop", name: "web", own: { reserved: "host" } }, new Set());
  t.deepEqual(displayLabels(labels), { network: "shop", "label:reserved": "host" });
});
