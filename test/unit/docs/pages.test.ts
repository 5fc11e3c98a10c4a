// The pages written by hand say what the program says.
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { endpointKeys, networkKeys } from "../../../src/network/options.ts";
import { reasonSentences } from "../../../src/abi/reasons.ts";

const root = join(import.meta.dirname, "../../..");
const page = (name: string): string => readFileSync(join(root, "docs", name), "utf8");

test("docker-options.md has every -o key and every driver-opt", (t) => {
  const text = page("docker-options.md");
  for (const key of [...networkKeys, ...endpointKeys]) t.true(text.includes(`\`${key}\``), `${key} is not in docs/docker-options.md`);
});

test("docker-options.md names no key that the program does not know", (t) => {
  const known = new Set([...networkKeys, ...endpointKeys]);
  for (const [, key = ""] of page("docker-options.md").matchAll(/`((?:com\.docker\.network|hawser)\.[\w.]*\w)`/g)) {
    t.true(known.has(key), `docs/docker-options.md names ${key}`);
  }
});

/** What stays of each message of ours when names and numbers are taken out. */
const sentences: readonly string[] = [
  "start it (`systemctl start hawser`, or `hawser agent`) or pick another with --socket",
  "is no key",
  "but must be",
  "stop it, or give this one its own paths.run",
  "cannot be used: ",
  "; run this as root",
  "or set paths.cgroup",
  "the nearest known one is ",
  "Hawser has no bridge to name",
  "; choose another --subnet",
  "the host's own address",
  "is free; remove containers, or create a network with a larger ",
  "is in use already (",
  "; choose another host port or stop it",
  "a program of the host holds it (`ss -ltnup` shows which)",
  "choose another host port or free it",
  "is a container, and policy is for containers' flows; for a published port name the container and its own port, such as web:80",
  "nothing is called ",
  "the policy is for network ",
  ", which does not exist yet",
  ", but addresses never mean containers; write net(",
  "; to have both, give one another name",
  "it is closed until its label is right",
  " is another machine's, ",
  "another machine says that it has ",
  "take it off that machine or, where it is a server of mode dsr, set ",
  "arp_ignore=1 and arp_announce=2",
  " there, or give the service another",
  "no uplink: no Ethernet device has a default route; containers cannot reach the world until one has, or `devices` names one",
];

test("troubleshooting.md quotes sentences that the program still has", (t) => {
  const text = page("troubleshooting.md");
  const code = globSync("src/**/*.ts", { cwd: root }).map((file) => readFileSync(join(root, file), "utf8")).join("\n").replaceAll("\\`", "`");
  for (const sentence of sentences) {
    t.true(text.includes(sentence), `not in the page: ${sentence}`);
    t.true(code.includes(sentence), `not in the program any more: ${sentence}`);
  }
});

test("etcd.md quotes sentences that the program still has", (t) => {
  const text = page("etcd.md");
  const code = globSync("src/store/*.ts", { cwd: root }).map((file) => readFileSync(join(root, file), "utf8")).join("\n").replaceAll("\\`", "`");
  for (const sentence of ["etcd is heard again", "the lease was lost", "etcd has lost data", "etcdctl alarm disarm"]) {
    t.true(text.includes(sentence), `not in the page: ${sentence}`);
    t.true(code.includes(sentence), `not in the program any more: ${sentence}`);
  }
});

test("troubleshooting.md names drop reasons that exist", (t) => {
  const known = new Set(Object.keys(reasonSentences));
  for (const [, name = ""] of page("troubleshooting.md").matchAll(/`([A-Z]{3,}(?:_[A-Z]+)*)`/g)) t.true(known.has(name), name);
});
