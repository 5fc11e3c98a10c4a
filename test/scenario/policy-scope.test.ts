// Whom a policy is for, how several of them join, and what a container's wrong label does.
//
//   a: web, db, api (shop)   store, yard1 (yard)
import test from "ava";
import { expectDrops, some } from "../lab/drops.ts";
import type { Place } from "../lab/place.ts";
import { isDropped, passes, policyScene } from "../lab/policy.ts";

const stage = policyScene(test);

async function make(name: string, network: string, ...labels: readonly string[]): Promise<Place> {
  const { host } = stage;
  await host.container(name, ["--network", network, ...labels.flatMap((label) => ["--label", label])]);
  return host.inside(name);
}

test.serial("a policy is for a network, a project, a label or all, and closes no other", async (t) => {
  const { host } = stage;
  await host.network("shop");
  await host.network("yard");
  const web = await make("web", "shop");
  const db = await make("db", "shop", "tier=db", "com.docker.compose.project=bank");
  const api = await make("api", "shop");
  const [store, asker] = [await make("store", "yard", "tier=db"), await make("asker", "yard")];
  const servers = await Promise.all([db, api, store].map((place) => place.serve({ tcp: [7000] })));
  const before = await host.drops();
  try {
    for (const [scope, closed] of [
      ["{ network: shop }", [db, api]], ["{ project: bank }", [db]], ['{ label: "tier=db" }', [db, store]], ["all", [db, api, store]],
    ] as const) {
      await stage.apply(`policy: closing\nfor: ${scope}\ndefault: { in: deny }\n`);
      for (const target of [db, api, store]) {
        const asking = target === store ? asker : web;
        if ((closed as readonly Place[]).includes(target)) await isDropped(t, asking, target.ipv4, 7000, "tcp", `for ${scope}`);
        else await passes(t, asking, target.ipv4, 7000, "tcp", `for ${scope}`);
      }
    }
  } finally {
    for (const server of servers) await server.stop();
  }
  await expectDrops(host, before, { POLICY_DEFAULT_IN: some });
});

test.serial("several policies join: a default of deny and a deny rule by any of them win, an allow rule by any opens", async (t) => {
  const { host } = stage;
  await host.network("shop");
  const [web, db, api] = [await make("web", "shop"), await make("db", "shop"), await make("api", "shop")];
  await using _db = await db.serve({ tcp: [7000, 7001] });
  const before = await host.drops();
  await stage.apply(`
policy: open
for: { network: shop }
default: { in: allow, out: allow }
---
policy: closed
for: all
default: { in: deny }
---
policy: doors
for: { network: shop }
allow:
  - web, api -> db
---
policy: guard
for: all
deny:
  - net(shop) -> shop/db:7001
`);
  await passes(t, web, db.ipv4, 7000);
  await passes(t, api, db.ipv4, 7000);
  await isDropped(t, web, db.ipv4, 7001);
  await isDropped(t, host, db.ipv4, 7000);
  await host.hawser(["policy", "delete", "guard"]);
  await passes(t, web, db.ipv4, 7001);
  await host.hawser(["policy", "delete", "closed"]);
  await passes(t, host, db.ipv4, 7000);
  await expectDrops(host, before, { POLICY_DEFAULT_IN: some, POLICY_DENIED: some });
});

test.serial("self is the containers of the policy, a name is its own network's, net() is a whole network", async (t) => {
  const { host } = stage;
  await host.network("shop");
  await host.network("yard");
  const [web, db] = [await make("web", "shop"), await make("db", "shop")];
  const [one, two] = [await make("one", "yard"), await make("two", "yard", "com.docker.compose.service=db")];
  await using _db = await db.serve({ tcp: [7000, 7001] });
  await using _two = await two.serve({ tcp: [7000, 7001] });
  const before = await host.drops();
  await stage.apply(`
policy: shop
for: { network: shop }
default: { in: deny }
allow:
  - self -> db:7000
  - net(yard) -> db:7001
`);
  await passes(t, web, db.ipv4, 7000);
  await isDropped(t, web, db.ipv4, 7001);
  await passes(t, one, db.ipv4, 7001);
  await isDropped(t, one, db.ipv4, 7000);
  await isDropped(t, web, two.ipv4, 7000, "tcp", "for db is shop's db alone");
  await passes(t, one, two.ipv4, 7000, "tcp", "in a network that no policy covers");
  await expectDrops(host, before, { POLICY_DEFAULT_IN: some, NETWORK_ISOLATED: some });
});

test.serial("with policy.betweenNetworks: allow networks reach each other, but for what a policy closes", async (t) => {
  const { host } = stage;
  await stage.configured({ policy: { directory: stage.directory, betweenNetworks: "allow" } }, async () => {
    await host.network("shop");
    await host.network("yard");
    await host.network("vault", "--internal");
    const [web, store, secret] = [await make("web", "shop"), await make("store", "yard"), await make("secret", "vault")];
    await using _store = await store.serve({ tcp: [7000, 7001] });
    await using _secret = await secret.serve({ tcp: [7000] });
    const before = await host.drops();
    await passes(t, web, store.ipv4, 7000);
    await stage.apply("policy: yard\nfor: { network: yard }\ndeny:\n  - net(shop) -> store:7001\n");
    await passes(t, web, store.ipv4, 7000);
    await isDropped(t, web, store.ipv4, 7001);
    await isDropped(t, web, secret.ipv4, 7000, "tcp", "for an internal network is a wall");
    await expectDrops(host, before, { POLICY_DENIED: some, INTERNAL_NETWORK: some });
    await host.clear();
  });
});

test.serial("a container with a wrong label of its own is closed and told of, and nobody else suffers (R6)", async (t) => {
  const { host } = stage;
  await host.network("shop");
  const [web, db] = [await make("web", "shop"), await make("db", "shop")];
  const wrong = [await make("wrong", "shop", "hawser.allow.in=@office"), await make("typo", "shop", "hawser.alow.in=web")];
  const servers = await Promise.all([db, ...wrong].map((place) => place.serve({ tcp: [7000] })));
  const before = await host.drops();
  try {
    for (const each of wrong) {
      await isDropped(t, web, each.ipv4, 7000);
      await isDropped(t, each, db.ipv4, 7000);
    }
    await passes(t, web, db.ipv4, 7000);
    const { problems } = (await host.json("status")) as { readonly problems: readonly string[] };
    t.regex(problems.join("\n"), /hawser\.allow\.in.*office/);
    t.regex(problems.join("\n"), /hawser\.alow\.in.*hawser\.allow\.in/);
  } finally {
    for (const server of servers) await server.stop();
  }
  await expectDrops(host, before, { POLICY_DENIED: some });
});

test.serial("a policy file that goes while the agent is away takes its policy with it, and one that comes brings it", async (t) => {
  const { host } = stage;
  await host.network("shop");
  const [web, db] = [await make("web", "shop"), await make("db", "shop")];
  await using _db = await db.serve({ tcp: [7000, 7001] });
  const before = await host.drops();
  await host.agent.stop();
  stage.drop("one.yaml", "policy: one\nfor: { network: shop }\ndeny:\n  - web -> db:7000\n");
  await passes(t, web, db.ipv4, 7000);
  await host.agent.start();
  await isDropped(t, web, db.ipv4, 7000, "tcp", `after the start:\n${host.agent.tail(8)}`);
  await host.agent.stop();
  await host.run(["rm", `${stage.directory}/one.yaml`]);
  stage.drop("two.yaml", "policy: two\nfor: { network: shop }\ndeny:\n  - web -> db:7001\n");
  await isDropped(t, web, db.ipv4, 7000);
  await host.agent.start();
  await passes(t, web, db.ipv4, 7000);
  await isDropped(t, web, db.ipv4, 7001);
  await expectDrops(host, before, { POLICY_DENIED: some });
});
