// Services that lead to one another's addresses: nobody outside would be served, though probes would find all well.
import test from "ava";
import { HawserError } from "../../../src/std/errors.ts";
import { shop } from "./shop.ts";

const file = (name: string, frontend: string, backend: string, more = "") => ({ file: `/d/${name}.yaml`, text: `service: ${name}\nfrontends: ["${frontend}"]\nbackends: [{ address: "${backend}" }]\nhealth: { kind: none }\n${more}` });
const api = file("api", "203.0.113.20:80", "198.51.100.7:80");

async function world() {
  const { engine } = await shop();
  const apply = (...documents: readonly ReturnType<typeof file>[]) => engine.commands.applyService({ documents });
  const refused = async (...documents: readonly ReturnType<typeof file>[]): Promise<string | undefined> => {
    try {
      await apply(...documents);
      return undefined;
    } catch (error) {
      return error instanceof HawserError ? `${error.code} ${error.message}` : String(error);
    }
  };
  const states = () => engine.queries.services().map(({ name, state, error }) => [name, state, error]);
  return { engine, apply, refused, states };
}

test("a backend at another service's address is refused with both places, at whatever port, and what was in force stays", async (t) => {
  const { apply, refused, states } = await world();
  await apply(api, file("web", "203.0.113.10:80", "198.51.100.8:80"));
  for (const port of [80, 9090]) {
    t.is(await refused(file("web", "203.0.113.10:80", `203.0.113.20:${port}`)), `BAD_SERVICE /d/web.yaml:3:12: 203.0.113.20:${port} is at the address of service api (203.0.113.20:80/tcp at /d/api.yaml:2:13), and no service leads to another; name the backends of api here`);
  }
  t.deepEqual(states(), [["api", "enforced", null], ["web", "enforced", null]]);
});

test("a frontend at another service's backend is refused, too, and so are two that come together", async (t) => {
  const { apply, refused } = await world();
  await apply(file("web", "203.0.113.10:80", "203.0.113.20:80"));
  t.is(await refused(api), "BAD_SERVICE /d/api.yaml:2:13: 203.0.113.20 is a backend of service web (203.0.113.20:80 at /d/web.yaml:3:12), and no service leads to another; give this one another address, or take that backend out there");
  const together = await refused(file("one", "203.0.113.1:80", "203.0.113.2:80"), file("two", "203.0.113.2:80", "203.0.113.1:80"));
  t.regex(together ?? "", /one\.yaml:3:12: 203\.0\.113\.2:80 is at the address of service two/);
  t.regex(together ?? "", /two\.yaml:3:12: 203\.0\.113\.1:80 is at the address of service one/);
});

test("of an address that programs of this host have as well, only a service's own port and protocol is the service's", async (t) => {
  const { apply, refused } = await world();
  await apply(file("api", "192.0.2.7:80", "198.51.100.7:80"));
  t.is(await refused(file("web", "203.0.113.10:80", "192.0.2.7:9090")), undefined);
  t.is(await refused(file("dns", "203.0.113.10:53/udp", "192.0.2.7:80")), undefined);
  t.regex(await refused(file("web", "203.0.113.10:80", "192.0.2.7:80")) ?? "", /^BAD_SERVICE \/d\/web\.yaml:3:12: 192\.0\.2\.7:80 is at the address of service api/);
});

test("of a folder the one that leads to another is rejected alone, and what stood before it was refused goes on", async (t) => {
  const { engine, states } = await world();
  const others = Array.from({ length: 20 }, (_, i) => file(`s${i + 10}`, `203.0.114.${i + 1}:80`, "198.51.100.7:80"));
  const sync = (...documents: readonly ReturnType<typeof file>[]) => engine.commands.syncServiceDirectory({ directory: "/d", unreadable: {}, documents: [...documents, ...others] });
  const bad = (): unknown => states().filter(([, state]) => state !== "enforced").map(([name, state]) => [name, state]);
  await sync(api, file("web", "203.0.113.10:80", "203.0.113.20:80"));
  t.deepEqual(bad(), [["web.yaml", "rejected"]]);
  await sync(api, file("web", "203.0.113.10:80", "198.51.100.8:80"));
  t.deepEqual(bad(), []);
  await sync(api, file("web", "203.0.113.10:80", "203.0.113.20:80"));
  t.deepEqual(bad(), [["web", "rejected"]]);
  t.deepEqual(engine.queries.service("web").backends.map(({ address }) => address), ["198.51.100.8"]);
});
