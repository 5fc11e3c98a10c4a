// Warnings: what is probably not meant as it is written, each with its place.
import test from "ava";
import { warningsOf } from "../../../src/policy/warnings.ts";
import type { WarningOptions } from "../../../src/policy/warnings.ts";
import { parseCidr } from "../../../src/std/ip.ts";
import { facts, policies } from "./shop.ts";

function warned(text: string, options: WarningOptions = { strict: false }): readonly string[] {
  return warningsOf(policies(text), facts, options).map(({ severity, message }) => `${severity} ${message}`);
}

const head = "policy: shop\nfor: { network: shop }\n";

test("R6 a name that nothing carries is told with the nearest known name, and is an error with --strict", (t) => {
  const text = `${head}allow:\n  - webb -> db:5432\n  - later -> db\n  - webb -> api\n`;
  t.deepEqual(warned(text), [
    'warning shop.yaml:4:5: nothing is called "webb" on network "shop"; did you mean "web"?',
    'warning shop.yaml:5:5: nothing is called "later" on network "shop"; until something is, the name matches nothing',
    'warning shop.yaml:6:5: nothing is called "webb" on network "shop"; did you mean "web"?',
  ]);
  t.true(warned(text, { strict: true }).every((message) => message.startsWith("error ")));
  t.deepEqual(warned(`${head}allow: ['shopweb-1 -> db']`, { strict: false, names: ["shop-web-1"] }), [
    'warning shop.yaml:3:10: nothing is called "shopweb-1" on network "shop"; did you mean "shop-web-1"?',
  ]);
});

test("names that are carried, entities and addresses are no reason to warn", (t) => {
  t.deepEqual(warned(`${head}allow: ['web, api -> db:5432', 'world -> web', 'back/job -> db', 'net(back) -> web', 'label(tier=db) -> self', '10.0.0.0/8 -> web']`), []);
});

test("a network that does not exist is told once for each place", (t) => {
  t.deepEqual(warned(`${head}allow: ['bac/job -> db', 'net(bac) -> db']`), [
    'warning shop.yaml:3:10: no network is called "bac"; did you mean "back"?',
    'warning shop.yaml:3:27: no network is called "bac"; did you mean "back"?',
  ]);
});

test("in a Compose file, which lists all its services, a name outside of them is an error", (t) => {
  const compose = "name: store\nservices:\n  web: { image: x }\n  api: { image: y }\nx-hawser:\n  allow: ['web -> apo:80']\n";
  t.deepEqual(warned(compose), [
    'warning shop.yaml:6:3: the policy is for project "store", which no container has yet',
    'error shop.yaml:6:19: no service of the file is called "apo"; did you mean "api"?',
  ]);
});

test("addresses that overlap a network of ours never mean its containers", (t) => {
  const subnets = new Map([["back", [parseCidr("10.44.1.0/24")]]]);
  t.deepEqual(warned(`${head}allow: ['10.44.1.0/28 -> web', '10.0.0.0/8 -> db']`, { strict: false, subnets }), [
    'warning shop.yaml:3:10: 10.44.1.0/28 overlaps network "back", but addresses never mean containers; write net(back) for them',
  ]);
});

test("a policy that is for nobody, and a label that nobody has, are told", (t) => {
  t.deepEqual(warned("policy: p\nfor: { network: shopp }\ndefault: { in: deny }\n"), ['warning shop.yaml:1:9: the policy is for network "shopp", which does not exist yet; did you mean "shop"?']);
  t.deepEqual(warned("policy: p\nfor: { network: shopp }\ndefault: { in: deny }\n", { strict: true }), ['error shop.yaml:1:9: the policy is for network "shopp", which does not exist yet; did you mean "shop"?']);
  t.deepEqual(warned("name: store\nservices: { web: { image: x } }\nx-hawser: { default: { in: deny } }\n", { strict: true }), ['warning shop.yaml:3:11: the policy is for project "store", which no container has yet']);
  t.deepEqual(warned("policy: p\nfor: { label: tiers=db }\ndefault: { in: deny }\n"), ['warning shop.yaml:1:9: the policy is for label "tiers=db", which no container has yet; did you mean "tier"?']);
  t.deepEqual(warned(`${head}allow: ['label(tiers=db) -> db']`), ['warning shop.yaml:3:10: no container has a label "tiers"; did you mean "tier"?']);
  t.deepEqual(warned(`${head}allow: ['label(tier=cache) -> db']`), []);
});

test("a sentence under two actions: the weaker one is told to have no effect", (t) => {
  t.deepEqual(warned(`${head}allow:\n  - web -> db\naudit:\n  - web -> db\ndeny:\n  - web -> db\n`), [
    'warning shop.yaml:4:5: allow "web -> db" has no effect: deny says the same in line 8, and deny wins',
    'warning shop.yaml:6:5: audit "web -> db" has no effect: deny says the same in line 8, and deny wins',
  ]);
});
