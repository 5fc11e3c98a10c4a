// A service that nobody touches, while others of the same containers come, change and go, also while the agent is killed in the middle of it.
//
//   a: web1, web2 (shop)  ◀── 198.18.7.7:80 (web) ── router ── outside
//                         ◀── 198.18.7.8:80…   (others)
import { writeFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import test from "ava";
import { scene } from "../lab/scenario.ts";

const stage = scene(test);
const address = "198.18.7.7";
const textOf = (name: string, frontend: string, more = ""): string => `service: ${name}
frontends: ["${frontend}"]
backends: [{ select: { network: shop, label: app=web }, port: 7000 }]
health: { kind: none }
${more}`;

test.serial("its streams go on and every new connection is answered, from outside and from a container, whatever happens beside it", async (t) => {
  t.timeout(180_000);
  const { host, world: { outside, router, directory } } = stage;
  await router.run(["ip", "route", "replace", address, "via", host.ipv4]);
  await host.network("shop");
  for (const name of ["web1", "web2"]) await host.container(name, ["--network", "shop", "--label", "app=web"]);
  await host.container("other", ["--network", "shop"]);
  await using _one = await (await host.inside("web1")).serve({ tcp: [7000] });
  await using _two = await (await host.inside("web2")).serve({ tcp: [7000] });
  const other = await host.inside("other");
  const [web, others] = [`${directory}/web.yaml`, `${directory}/others.yaml`];
  writeFileSync(web, textOf("web", `${address}:80`));
  await host.hawser(["service", "apply", web]);
  await using held = new AsyncDisposableStack();
  const streams = await Promise.all([outside, other].flatMap((from) => Array.from({ length: 4 }, async () => held.use(await from.stream(address, 80)))));

  const over = new AbortController();
  const answers = new Map<string, number>();
  const asking = [outside, other].map(async (from) => {
    while (!over.signal.aborted) {
      const answer = (await from.ask("tcp", address, 80)).replace(/ .*/, "");
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
      await setTimeout(30);
    }
  });
  for (let round = 0; round < 6; round++) {
    const more = ["affinity: { by: client }\n", "sources: { deny: [192.0.2.0/24] }\n", ""][round % 3] as string;
    writeFileSync(others, Array.from({ length: 40 }, (_, i) => textOf(`other${i}`, `198.18.8.${i + round}:80`, more)).join("---\n"));
    const applying = host.hawser(["service", "apply", others], { mayFail: true });
    if (round % 2 === 1) {
      await setTimeout(250 + 60 * round);
      await host.agent.kill();
      await applying;
      await host.agent.start();
    }
    await applying;
    for (let i = 0; i < 3; i++) await host.hawser(["service", "delete", `other${i}`], { mayFail: true });
  }
  over.abort();
  await Promise.all(asking);
  t.log(Object.fromEntries(answers));
  t.deepEqual([...answers.keys()].toSorted(), [outside.ipv4, other.ipv4].toSorted());
  for (const stream of streams) t.like(await stream.report(), { error: null });
  const names = ((await host.json("service", "list")) as readonly { readonly name: string }[]).map(({ name }) => name);
  for (const name of names) await host.hawser(["service", "delete", name]);
});
