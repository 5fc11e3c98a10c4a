// What a node's watched directory makes of the services that all nodes have: whose a service is, and what of another's this node leaves alone.
import test from "ava";
import { ServiceBook } from "../../../src/engine/service-book.ts";
import { ServiceTexts } from "../../../src/engine/service-texts.ts";
import { writtenServices } from "../../../src/engine/service-changes.ts";
import { applyShared, restoreShared, shareDirectory, takeBack } from "../../../src/engine/shared-services.ts";
import type { Around } from "../../../src/engine/shared-services.ts";
import type { DirectoryReading } from "../../../src/engine/types.ts";
import { nothingShared } from "../../../src/lb/stored.ts";
import type { SharedServices } from "../../../src/lb/stored.ts";
import { emptyState } from "../../../src/network/types.ts";
import { parseCidr } from "../../../src/std/ip.ts";
import { atOnce } from "../../../src/std/sliced.ts";

const directory = "/d";
const text = (name: string, port = 80): string => `service: ${name}\nfrontends: ["203.0.113.10:${port}"]\nbackends: [{ address: 192.0.2.7:8080 }]\n`;
const reading = (files: Readonly<Record<string, string>>, unreadable: Readonly<Record<string, string>> = {}): DirectoryReading =>
  ({ directory, documents: Object.entries(files).map(([file, one]) => ({ file: `${directory}/${file}`, text: one })), unreadable });

function around(self: string): Around {
  const texts = new ServiceTexts();
  const book = new ServiceBook(self, texts);
  const pool = { ipv4: parseCidr("10.44.0.0/16"), ipv4NodePrefix: 24, ipv6: null, ipv6NodePrefix: 64 };
  return {
    self, state: emptyState, now: 1000, written: { ...writtenServices({ book, texts, shared: true, refusal: () => undefined, pool, hostPrefixes: () => [] }), self },
    read: (rows) => book.candidates({ services: rows }),
    partsOf: texts.parts,
  };
}

const printed = ({ services, files }: SharedServices): readonly string[] => [
  ...[...services.values()].map(({ name, node, file, revision, text: said }) => `${name} ${/:(\d+)"/.exec(said)?.[1]} of ${node}:${file} r${revision}`).toSorted(),
  ...[...files].flatMap(([node, those]) => [...those].map(([name, file]) => `${node} holds ${name} in ${file}`)).toSorted(),
];

/** What nodes have after each reads its directory, one after the other. */
function shared(...readings: readonly (readonly [node: string, reading: DirectoryReading])[]): SharedServices {
  return readings.reduce((known, [node, one]) => atOnce(shareDirectory(known, one, around(node))).wanted, nothingShared);
}

test("a file moves to another name, and of a file with two services one goes", (t) => {
  const both = `${text("web")}---\n${text("more", 81)}`;
  const known = shared(["a", reading({ "one.yaml": both })]);
  t.deepEqual(printed(known), ["more 81 of a:/d/one.yaml r1", "web 80 of a:/d/one.yaml r1", "a holds more in /d/one.yaml", "a holds web in /d/one.yaml"]);
  t.like(known.services.get("more"), { text: text("more", 81), line: 5 });
  t.is(shared(["a", reading({ "one.yaml": both })], ["a", reading({ "one.yaml": both })]).services.get("web")?.revision, 1);
  const moved = atOnce(shareDirectory(known, reading({ "two.yaml": both }), around("a"))).wanted;
  t.deepEqual(printed(moved).slice(2), ["a holds more in /d/two.yaml", "a holds web in /d/two.yaml"]);
  t.is(moved.services.get("web"), known.services.get("web"), "nothing of it changed");
  t.deepEqual(printed(atOnce(shareDirectory(known, reading({ "one.yaml": text("web") }), around("a"))).wanted), ["web 80 of a:/d/one.yaml r1", "a holds web in /d/one.yaml"]);
});

test("R7: a file that is wrong, and a directory that cannot be read or is suddenly empty, hold what they held", (t) => {
  const known = shared(["a", reading({ "web.yaml": text("web"), "other.yaml": text("other", 81) })], ["b", reading({ "web.yaml": text("web") })]);
  const held = printed(known);
  for (const [what, problems] of [
    [reading({ "web.yaml": "service: web\n", "other.yaml": text("other", 81) }), 1],
    [reading({ "other.yaml": text("other", 81) }, { "/d/web.yaml": "EACCES" }), 1],
    [{ directory, documents: null, unreadable: { [directory]: "ENOTDIR" } }, 1],
    [reading({}), 1],
  ] as const) {
    const after = atOnce(shareDirectory(known, what, around("a")));
    t.deepEqual(printed(after.wanted), held);
    t.is(after.problems.size, problems);
  }
});

test("what another node holds stays as he says, and what nobody holds is taken over", (t) => {
  const known = shared(["a", reading({ "web.yaml": text("web") })], ["b", reading({ "w.yaml": text("web"), "x.yaml": text("x", 82) })]);
  const { wanted, problems } = atOnce(shareDirectory(known, reading({ "web.yaml": text("web", 90) }), around("a")));
  t.deepEqual(printed(wanted), ["web 80 of a:/d/web.yaml r1", "x 82 of b:/d/x.yaml r1", "b holds web in /d/w.yaml", "b holds x in /d/x.yaml"]);
  t.regex(problems.get("/d/web.yaml") ?? "", /already, of b:\/d\/w\.yaml/);
  const gone = { ...known, files: new Map([["a", new Map([["web", "/d/web.yaml"]])]]) };
  const taken = atOnce(shareDirectory(gone, reading({ "web.yaml": text("web", 90), "mine.yaml": text("x", 91) }), around("a")));
  t.deepEqual(printed(taken.wanted), ["web 90 of a:/d/web.yaml r2", "x 91 of a:/d/mine.yaml r2", "a holds web in /d/web.yaml", "a holds x in /d/mine.yaml"]);
  t.deepEqual(printed(atOnce(shareDirectory(gone, reading({ "web.yaml": text("web") }), around("a"))).wanted).slice(0, 2), ["web 80 of a:/d/web.yaml r1", "x 82 of b:/d/x.yaml r1"]);
});

test("what the store has lost is put back beside what it has, and what cannot stand there is left out", (t) => {
  const before = shared(["a", reading({ "web.yaml": text("web"), "more.yaml": text("more", 81) })]);
  const now = shared(["b", reading({ "other.yaml": text("other", 81) })]);
  t.deepEqual(printed(atOnce(restoreShared(now, before.services.values(), around("a")))).slice(0, 2), ["other 81 of b:/d/other.yaml r1", "web 80 of a:/d/web.yaml r1"]);
  const whole = ["web", "more"].map((name) => ({ name, file: "/all.yaml", text: `${text("web")}---\n${text("more", 82)}`, source: "apply", revision: 3, changedAt: 1 }) as const);
  const restored = atOnce(restoreShared(now, whole, around("a"))).services;
  t.like(restored.get("more"), { text: text("more", 82), line: 5, revision: 3, node: "a" }, "as an earlier build kept it");
  t.like(restored.get("web"), { text: text("web"), line: undefined });
});

test("a change that is taken back gives nobody what another has taken meanwhile, and services that changed places get theirs again", (t) => {
  const apply = (known: SharedServices, self: string, ...texts: readonly string[]): SharedServices => {
    const { wanted } = atOnce(applyShared(known, texts.map((one, i) => ({ file: `/${self}${i}.yaml`, text: one })), around(self)));
    return { ...wanted, turn: known.turn + 1 };
  };
  const before = apply(nothingShared, "a", text("web"), text("more", 81));
  const after = apply(before, "a", text("web", 90), text("more", 91));
  const back = atOnce(takeBack(after, before, after, around("a")));
  t.deepEqual(printed(back), printed(before));
  const taken = atOnce(takeBack(apply(after, "b", text("other")), before, after, around("a")));
  t.deepEqual(printed(taken), ["more 81 of a:/a1.yaml r1", "other 80 of b:/b0.yaml r1"]);
  const swapped = apply(apply(before, "a", text("web", 90)), "a", text("more"), text("web", 81));
  t.deepEqual(printed(atOnce(takeBack(swapped, before, swapped, around("a")))), printed(before));
});
