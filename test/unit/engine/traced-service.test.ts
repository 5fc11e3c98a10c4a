// `policy trace` to a service's address: what is judged is who would get the packet.
import test from "ava";
import { endpointId, fakeHost, memoryStore, network } from "./fake.ts";
import { service, shop, web } from "./shop.ts";

const policy = (body: string) => ({ documents: [{ file: "shop.yaml", text: `policy: shop\nfor: { network: shop }\n${body}` }], strict: false });
const people = (n: string) => web(Number(n.slice(0, 11)), { own: { app: Number(n.slice(0, 11)) === 3 ? "client" : "web", n: `${Number(n.slice(0, 11)) % 2}` } });

test("the backends are judged, at their own port, and different answers are all told, what is denied first", async (t) => {
  const { engine, join } = await shop(memoryStore(), fakeHost(), people);
  await join(1, 2, 3);
  await engine.commands.applyService(service());
  await engine.commands.applyPolicy(policy("default: { in: deny }\nallow: [\"label(app=client) -> label(app=web, n=1):8080\"]\n"));
  const trace = engine.queries.trace("web3", "203.0.113.10:80");
  t.like(trace, { verdict: "deny", decidedBy: "default:in", port: 8080, protocol: "tcp", to: { name: "203.0.113.10", address: "10.50.0.3" } });
  t.deepEqual(trace.others.map(({ verdict, to }) => [verdict, to.name, to.address]), [["allow", "203.0.113.10", "10.50.0.2"]]);
  await engine.commands.applyPolicy(policy("default: { in: deny }\nallow: [\"label(app=client) -> label(app=web):8080\"]\n"));
  t.like(engine.queries.trace("web3", "203.0.113.10:80/tcp"), { verdict: "allow", others: [] });
  t.like(engine.queries.trace("198.51.100.7", "203.0.113.10:80"), { verdict: "deny", decidedBy: "default:in" });
});

test("servers that somebody outside asks are no matter of policy, and that is said in the words of who asked", async (t) => {
  const { engine, join } = await shop();
  await join(3);
  const servers = 'service: servers\nfrontends: ["203.0.113.12:80"]\nbackends: [{ address: "192.0.2.77:80" }]\nhealth: { kind: none }\n';
  await engine.commands.applyService({ documents: [{ file: "servers.yaml", text: servers }] });
  t.regex((t.throws(() => engine.queries.trace("198.51.100.7", "203.0.113.12:80")) as Error).message, /^neither "198\.51\.100\.7" nor a backend of "203\.0\.113\.12:80" is a container/);
  t.regex((t.throws(() => engine.queries.trace("any", "203.0.113.12:80")) as Error).message, /^"any" stands for many/);
  t.like(engine.queries.trace("web3", "203.0.113.12:80"), { verdict: "allow", to: { name: "203.0.113.12", address: "192.0.2.77" } });
});

test("a port that the service has not, no port, and no backend are told", async (t) => {
  const { engine, join } = await shop();
  await engine.commands.applyService(service());
  await join(3);
  await engine.commands.applyService(service("", "empty", "203.0.113.11:80"));
  const said = (to: string): string => (t.throws(() => engine.queries.trace("web3", to)) as Error).message;
  t.is(said("203.0.113.10:81"), "no service has port 81/tcp at 203.0.113.10; it has 80/tcp (web)");
  t.is(said("203.0.113.10:80/udp"), "no service has port 80/udp at 203.0.113.10; it has 80/tcp (web)");
  t.is(said("203.0.113.10"), '"203.0.113.10" is a service\'s address: name a port, of which it has 80/tcp (web)');
  await engine.commands.leave({ id: endpointId(3), network });
  await engine.idle();
  t.regex((t.throws(() => engine.queries.trace("203.0.113.77", "203.0.113.11:80")) as Error).message, /^"203\.0\.113\.11:80" is service empty, which has no backend/);
});
