// `hawser policy` and `hawser identity`: what they print, what they send, how they end.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { HawserError } from "../../../src/std/errors.ts";
import { identities, policies, policyText, recorded, trace } from "../api/world.ts";
import { hawser, serve, socketFor } from "./harness.ts";

const shop = `policy: shop
for: { network: shop }
default: { in: deny, out: allow }
allow:
  - web -> api:8080
  - api -> db:5432/tcp
tests:
  - { from: api, to: "db:5432", expect: allow }
  - { from: web, to: "db:5432", expect: deny }
`;

/** Files below a folder that goes away with the test; returns the folder. */
async function files(t: ExecutionContext, texts: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "hawser-policy-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(texts)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
  }
  return folder;
}

test("apply sends every file whole and says what is in force; warnings go to stderr", async (t) => {
  const folder = await files(t, { "b.yaml": "policy: b\n", "set/z.yml": "policy: z\n", "set/a.yaml": "policy: a\n", "set/notes.txt": "no policy", "set/.hidden.yaml": "no policy" });
  const { commands, applied } = recorded({
    applyPolicy: ({ documents }) => Promise.resolve({ applied: ["b", "a", "z", "in"], warnings: [`${documents[0]?.file}:1:9: nothing is called "wbe"`], revision: 7 }),
  });
  const socket = await serve(t, {}, commands);
  const ran = await hawser(socket, ["policy", "apply", `${folder}/b.yaml`, `${folder}/set`, "-", "--strict"], { readInput: () => Promise.resolve("policy: in\n") });
  t.deepEqual(ran, { code: 0, out: "applied b, a, z, in (revision 7)\n", err: `hawser: warning: ${folder}/b.yaml:1:9: nothing is called "wbe"\n` });
  t.deepEqual(applied, [{
    strict: true,
    documents: [
      { file: join(folder, "b.yaml"), text: "policy: b\n" }, { file: join(folder, "set/a.yaml"), text: "policy: a\n" },
      { file: join(folder, "set/z.yml"), text: "policy: z\n" }, { file: "stdin", text: "policy: in\n" },
    ],
  }]);
  const json = await hawser(socket, ["policy", "apply", `${folder}/b.yaml`, "-o", "json"]);
  t.like(JSON.parse(json.out), { applied: ["b", "a", "z", "in"], revision: 7 });
});

test("apply: a policy that another file had is told to be replaced", async (t) => {
  const folder = await files(t, { "compose.yaml": "policy: shop\n" });
  let current = policies;
  const { commands } = recorded({
    applyPolicy: ({ documents }) => {
      current = policies.map((one) => (one.name === "shop" ? { ...one, source: `apply ${documents[0]?.file}` } : one));
      return Promise.resolve({ applied: ["shop"], warnings: [], revision: 8 });
    },
  });
  const socket = await serve(t, { policies: () => current }, commands);
  const apply = async (): Promise<string> => (await hawser(socket, ["policy", "apply", `${folder}/compose.yaml`])).err;
  t.is(await apply(), `hawser: warning: policy "shop" of /srv/shop.yaml is replaced by that of ${folder}/compose.yaml; to have both, give one another name\n`);
  t.is(await apply(), "");
});

test("a path is told to the agent from the root on, because a Compose project may be called like its folder, and shown as it was written", async (t) => {
  const folder = await files(t, { "compose.yaml": "services: {}\n" });
  const written = `${folder}/../${folder.slice(folder.lastIndexOf("/") + 1)}/compose.yaml`;
  const { commands, applied } = recorded({ applyPolicy: ({ documents }) => Promise.reject(new HawserError("BAD_POLICY", `${documents[0]?.file}:1:1: no policy`)) });
  const ran = await hawser(await serve(t, {}, commands), ["policy", "apply", written]);
  t.is(applied[0]?.documents[0]?.file, join(folder, "compose.yaml"));
  t.deepEqual(ran, { code: 1, out: "", err: `hawser: ${written}:1:1: no policy [BAD_POLICY]\n` });
});

test("apply of what cannot be read asks no agent and names the file", async (t) => {
  const folder = await files(t, { "empty/readme": "" });
  const never = { connect: () => t.fail("asked the agent") as never };
  t.like(await hawser("/none", ["policy", "apply", `${folder}/none.yaml`], never), { code: 1, err: `hawser: ${folder}/none.yaml: no such file or folder [NOT_FOUND]\n` });
  t.like(await hawser("/none", ["policy", "apply", `${folder}/empty`], never), { code: 1, err: `hawser: ${folder}/empty: no *.yaml and no *.yml is in the folder [NOT_FOUND]\n` });
  t.like(await hawser("/none", ["policy", "apply", "-", "-"], never), { code: 1 });
});

test("a refused policy shows every problem, however many lines it takes", async (t) => {
  const folder = await files(t, { "a.yaml": "policy: a\n" });
  const problems = Array.from({ length: 50 }, (_, i) => `a.yaml:${i}:1: wrong`).join("\n");
  const { commands } = recorded({ applyPolicy: () => Promise.reject(new HawserError("BAD_POLICY", problems)) });
  t.is((await hawser(await serve(t, {}, commands), ["policy", "apply", `${folder}/a.yaml`])).err, `hawser: ${problems} [BAD_POLICY]\n`);
});

test("delete asks for the one that is named", async (t) => {
  const { commands, deleted } = recorded();
  t.deepEqual(await hawser(await serve(t, {}, commands), ["policy", "delete", "shop"]), { code: 0, out: "", err: "hawser: policy \"shop\" is deleted\n" });
  t.deepEqual(deleted, ["shop"]);
});

test("list: one line each, what was rejected with its error on stderr; as JSON, the contract's fields", async (t) => {
  const socket = await serve(t);
  t.deepEqual(await hawser(socket, ["policy", "list"]), {
    code: 0,
    out: [
      "NAME   STATE      RULES   COVERS   REVISION   SOURCE",
      "shop   enforced       3        3          2   apply /srv/shop.yaml",
      "old    rejected       1        0          1   directory /etc/hawser/policy.d/old.yaml",
      "",
    ].join("\n"),
    err: "hawser: policy \"old\": old.yaml:2:3: no key is called \"alow\"\n",
  });
  const [first, second] = JSON.parse((await hawser(socket, ["policy", "list", "-o", "json"])).out) as readonly object[];
  t.deepEqual(first, { name: "shop", source: "apply /srv/shop.yaml", revision: 2, rules: 3, endpoints: 3, state: "enforced" });
  t.deepEqual(second, { ...policies[1] });
});

test("get: the text below what is known of it", async (t) => {
  const socket = await serve(t);
  const { out } = await hawser(socket, ["policy", "get", "shop"]);
  t.regex(out, /^covers +3 containers$/m);
  t.true(out.endsWith(`\n\n${policyText}`));
  t.is((JSON.parse((await hawser(socket, ["policy", "get", "shop", "-o", "json"])).out) as { text: string }).text, policyText);
  t.like(await hawser(socket, ["policy", "get", "shup"]), { code: 1, err: "hawser: no policy \"shup\" exists; known are shop, old [NOT_FOUND]\n" });
});

test("trace: verdict, rule with file and line, both ends; and the others that the words may mean", async (t) => {
  const socket = await serve(t);
  t.is((await hawser(socket, ["policy", "trace", "web", "db:5432"])).out, [
    "verdict         allow",
    "decided by      web -> db:5432",
    "policy          shop",
    "at              /srv/shop.yaml:3",
    "at the end of   the sender (web)",
    "from            web (10.44.0.2; identity 256; service=web)",
    "to              db (10.44.0.4; identity 257)",
    "for             5432/tcp",
    "",
    "verdict         deny",
    "decided by      between-networks",
    "at the end of   the receiver (db)",
    "from            web (10.44.1.2; identity 258)",
    "to              db (10.44.0.4; identity 257)",
    "for             5432/tcp",
    "",
  ].join("\n"));
  t.deepEqual(JSON.parse((await hawser(socket, ["policy", "trace", "web", "db:5432", "-o", "json"])).out), trace);
});

test("trace: an ICMP type is shown as one, and no port as every port", async (t) => {
  const icmp = await serve(t, { trace: () => ({ ...trace, protocol: "icmp", port: 8 * 256, others: [] }) });
  t.regex((await hawser(icmp, ["policy", "trace", "web", "db"])).out, /^for +icmp\(8\/0\)$/m);
  const every = await serve(t, { trace: () => ({ ...trace, protocol: null, port: null, others: [] }) });
  t.regex((await hawser(every, ["policy", "trace", "web", "db"])).out, /^for +every protocol and port$/m);
});

test("identity list: labels and how many carry them", async (t) => {
  const socket = await serve(t);
  t.is((await hawser(socket, ["identity", "list"])).out, [
    " ID   ENDPOINTS   LABELS",
    "256           2   network=shop, service=web, a=b=c, d",
    "257           1   network=shop, service=db",
    "",
  ].join("\n"));
  t.deepEqual(JSON.parse((await hawser(socket, ["identity", "list", "-o", "json"])).out), identities);
});

test("metrics: the agent's text as it is", async (t) => {
  const { code, out } = await hawser(await serve(t), ["metrics"]);
  t.is(code, 0);
  t.true(out.includes("\nhawser_policy_rules 3\n"));
});

test("check: a file's tests run with no agent (R64)", async (t) => {
  const folder = await files(t, { "shop.yaml": shop });
  const ran = await hawser(await socketFor(t), ["policy", "check", `${folder}/shop.yaml`]);
  t.is(ran.code, 0);
  t.is(ran.out, `✓ shop (${folder}/shop.yaml): 2 rules, 2 tests passed\n`);
  t.regex(ran.err, /^(hawser: warning: .*shop\.yaml:\d+:\d+: .*\n)+$/);
});

test("check: a test that fails, a sentence that is none, a key that is none: exit 1 with file, line, column and reason", async (t) => {
  const folder = await files(t, {
    "test.yaml": shop.replace("expect: deny", "expect: allow"), "port.yaml": shop.replace(":8080", ":80800"), "key.yaml": shop.replace("allow:", "alow:"),
  });
  const socket = await socketFor(t);
  const wrong = [
    { file: "test.yaml", says: /test\.yaml:9:5: .*"web -> db:5432" is expected to be allowed, but is denied by default:in/ },
    { file: "port.yaml", says: /port\.yaml:5:\d+: .*80800/ },
    { file: "key.yaml", says: /key\.yaml:4:1: .*"alow".*"allow"/ },
  ];
  for (const { file, says } of wrong) {
    const ran = await hawser(socket, ["policy", "check", `${folder}/${file}`]);
    t.is(ran.code, 1);
    t.is(ran.out, "");
    t.regex(ran.err, says);
    t.true(ran.err.endsWith("[BAD_POLICY]\n"));
  }
});

test("check as JSON: problems and warnings as places, alone on stdout", async (t) => {
  const socket = await socketFor(t);
  const input = (text: string): { readInput: () => Promise<string> } => ({ readInput: () => Promise.resolve(text) });
  const fine = await hawser(socket, ["policy", "check", "-", "-o", "json"], input(shop));
  t.is(fine.code, 0);
  t.is(fine.err, "");
  t.like(JSON.parse(fine.out), { ok: true, problems: [], passed: 2, policies: [{ name: "shop", file: "stdin", line: 1, rules: 2, tests: 2 }] });
  const wrong = await hawser(socket, ["policy", "check", "-", "-o", "json"], input(shop.replace("expect: deny", "expect: audit")));
  t.is(wrong.code, 1);
  t.like(JSON.parse(wrong.out), { ok: false, passed: 1, problems: [{ file: "stdin", line: 9, column: 5 }] });
});

test("check --strict: a name that nothing carries is an error; one that the agent knows is none", async (t) => {
  const folder = await files(t, { "a.yaml": "policy: a\nfor: { network: shop }\nallow:\n  - web -> db:5432\n", "b.yaml": "policy: b\nfor: { network: shop }\nallow:\n  - web -> dv:5432\n" });
  const socket = await serve(t);
  t.like(await hawser(socket, ["policy", "check", "--strict", `${folder}/a.yaml`]), { code: 0, err: "" });
  const ran = await hawser(socket, ["policy", "check", "--strict", `${folder}/b.yaml`]);
  t.is(ran.code, 1);
  t.regex(ran.err, /b\.yaml:4:\d+: .*"dv".*did you mean "db"\?/);
  t.regex((await hawser(socket, ["policy", "check", `${folder}/b.yaml`])).err, /^hawser: warning: .*b\.yaml:4:\d+: .*did you mean "db"\?\n$/);
});

test("R88: check knows labels that may not be the running containers' own", async (t) => {
  const file = `${await files(t, { "a.yaml": 'policy: a\nfor: { label: "tier=secret" }\ndefault: { in: deny }\n' })}/a.yaml`;
  t.regex((await hawser(await serve(t), ["policy", "check", file])).err, /which no container has yet/);
  const socket = await serve(t, { identities: () => identities.map((one) => ({ ...one, labels: { ...one.labels, "doubtful:tier": "secret" } })) });
  t.like(await hawser(socket, ["policy", "check", file]), { code: 0, err: "" });
});

test("check: in a Compose file, which lists its services, a name that is none of them is an error without --strict", async (t) => {
  const compose = "name: site\nservices:\n  web: { image: x }\n  api: { image: x }\nx-hawser:\n  allow:\n    - web -> api:8080\n    - wep -> api:8080\n";
  const ran = await hawser(await socketFor(t), ["policy", "check", `${await files(t, { "compose.yaml": compose })}/compose.yaml`]);
  t.is(ran.code, 1);
  t.regex(ran.err, /compose\.yaml:8:\d+: .*"wep".*did you mean "web"\?/);
});
