// Whatever Docker's socket brings: each call is understood or refused with an error that says why, and neither takes long.
import test from "ava";
import fc from "fast-check";
import type { Commands, Queries } from "../../src/engine/types.ts";
import { createRoutes } from "../../src/libnetwork/routes.ts";
import { HawserError } from "../../src/std/errors.ts";
import { fuzzParameters, mutated, seedsOf } from "./mutate.ts";

const tokens = [
  "{", "}", "[", "]", ",", ":", '"', "null", "true", "-0", "1.5", "1e308", '"\\u0000"', "\\", "\\ud800", '"__proto__"', '"constructor"', '"NetworkID"', '"EndpointID"', '"Options"',
  '"Interface"', '"com.docker.network.portmap"', '"com.docker.network.generic"', '"Proto"', '"HostPort"', "65536", "::1", "10.0.0.1/33", '""', '{"a":', "[[[[",
];

interface Seed {
  readonly call: string;
  readonly body: unknown;
}

const seeds = seedsOf("libnetwork").map(({ file, text }) => ({ file, ...(JSON.parse(text) as Seed) }));
const bodies = seeds.map(({ file, body }) => ({ file, text: JSON.stringify(body) }));

/** What the engine would be asked: everything that passes the door ends here. */
class Asked {
  readonly commands: { readonly name: string; readonly command: unknown }[] = [];

  engine(): Commands & Pick<Queries, "endpoints"> {
    const take = (name: string) => (command: unknown): Promise<unknown> => {
      this.commands.push({ name, command });
      return Promise.reject(new HawserError("NOT_FOUND", "asked"));
    };
    return new Proxy({}, { get: (_target, name) => (name === "endpoints" ? () => [] : take(String(name))) }) as Commands & Pick<Queries, "endpoints">;
  }
}

/** undefined: it passed the door. @throws whatever is no HawserError. */
async function refusal(asked: Asked, path: string, body: string): Promise<HawserError | undefined> {
  const engine = asked.engine();
  const route = createRoutes(engine, engine).get(path);
  if (route === undefined) throw new Error(`no route ${path}`);
  const before = asked.commands.length;
  try {
    await route.handle(body, new AbortController().signal);
    return undefined;
  } catch (error) {
    if (!(error instanceof HawserError)) throw error;
    return asked.commands.length > before ? undefined : error;
  }
}

test("every seed passes the door", async (t) => {
  for (const { file, call, body } of seeds) {
    const asked = new Asked();
    t.is(await refusal(asked, `/${call}`, JSON.stringify(body)), undefined, file);
    t.is(asked.commands.length, 1, file);
  }
});

const calls = [...createRoutes(new Asked().engine(), new Asked().engine())].filter(([, { waits }]) => waits).map(([path]) => path);

test("R90: damaged requests to every call are understood or refused by name, with a short message", async (t) => {
  const asked = new Asked();
  let refused = 0;
  await fc.assert(fc.asyncProperty(fc.constantFrom(...calls), mutated(bodies, tokens), async (path, body) => {
    const start = performance.now();
    const error = await refusal(asked, path, body);
    if (error !== undefined) {
      refused++;
      if (!["BAD_REQUEST", "BAD_OPTION", "UNSUPPORTED"].includes(error.code)) throw new Error(`${error.code}: ${error.message}`);
      if (error.message.length > 2000) throw new Error(`a message of ${error.message.length} characters`);
    }
    const took = performance.now() - start;
    if (took > 5000) throw new Error(`took ${took} ms`);
  }), fuzzParameters(2000));
  t.log(`${asked.commands.length} understood, ${refused} refused`);
  t.true(refused > 0 && asked.commands.length > 0);
});

const json = fc.jsonValue({ maxDepth: 4 });

test("requests of the right shape with anything inside are understood or refused by name", async (t) => {
  const asked = new Asked();
  const fields = [...new Set(bodies.flatMap(({ text }) => [...text.matchAll(/"([\w.]+)":/g)].map(([, key]) => key ?? "")))];
  await fc.assert(fc.asyncProperty(fc.constantFrom(...seeds), fc.dictionary(fc.constantFrom(...fields), json, { maxKeys: 6 }), async ({ call, body }, other) => {
    await refusal(asked, `/${call}`, JSON.stringify({ ...(body as object), ...other }));
    await refusal(asked, `/${call}`, JSON.stringify({ ...(body as object), Options: other, Interface: other, IPv4Data: [other] }));
  }), fuzzParameters(1000));
  t.true(asked.commands.length > 0);
});

test("R90: a message quotes only the beginning of a large value, and deep nesting is no crash", async (t) => {
  const asked = new Asked();
  const large = "x".repeat(5_000_000);
  const bodiesThatAreLarge = [
    JSON.stringify({ NetworkID: large }), JSON.stringify({ NetworkID: "0".repeat(12), EndpointID: "0".repeat(12), Interface: { MacAddress: large } }),
    JSON.stringify({ NetworkID: "0".repeat(12), EndpointID: "0".repeat(12), Interface: large }), `{"NetworkID":${"[".repeat(100_000)}${"]".repeat(100_000)}}`, "[".repeat(1_000_000), large,
  ];
  const lengths: (number | null)[] = [];
  // null: a value that the engine judges passes the door.
  for (const body of bodiesThatAreLarge) lengths.push((await refusal(asked, "/NetworkDriver.CreateEndpoint", body))?.message.length ?? null);
  t.deepEqual(lengths.map((length) => length !== null && length < 2000), [true, false, true, true, true, true], lengths.join());
});
