// docs/bgp.md shows what the lab's BIRD runs with.
import test from "ava";
import { readFileSync } from "node:fs";
import { nodeConfiguration, routerConfiguration } from "../../lab/bird.ts";
import { root } from "../../lab/names.ts";

const page = readFileSync(`${root}/docs/bgp.md`, "utf8");
const router = { as: 64512, ipv4: "10.99.1.1", ipv6: "fd99:0:0:1::1" };
const node = { as: 64513, ipv4: "10.99.1.11", ipv6: "fd99:0:0:1::11" };

test("the page's bird.conf of a node is the scenario's", (t) => {
  t.true(page.includes(`\n${nodeConfiguration(node, { ipv4: "10.44.1.0/24", ipv6: "fd44:0:0:1::/64" }, router)}`));
});

test("the page's session of the router is the scenario's", (t) => {
  const text = routerConfiguration("10.99.0.1", [{ name: "a", router, node }]);
  const session = text.slice(text.indexOf("protocol bgp a4"), text.indexOf("\nprotocol bgp a6"));
  t.regex(session, /neighbor 10\.99\.1\.11/);
  t.true(page.includes(session), session);
});
