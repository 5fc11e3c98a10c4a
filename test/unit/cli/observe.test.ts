// `hawser observe`: the same flows as table and as Hubble's JSON, chosen by the options, and followed as they come.
import test from "ava";
import type { FlowQuery } from "../../../src/engine/types.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { flows, flowsOf } from "../api/world.ts";
import { hawser, serve } from "./harness.ts";

test("a table: when, what, from whom to whom, by which port, and why", async (t) => {
  const ran = await hawser(await serve(t), ["observe"]);
  t.deepEqual(ran, {
    code: 0, err: "",
    out: [
      "TIME                       VERDICT     FROM          TO            PORT            WHY",
      "2026-01-01T03:12:00.000Z   FORWARDED   shop/web      shop/db       5432/tcp        web -> db:5432 (/srv/shop.yaml:3)",
      "2026-01-01T03:12:01.000Z   DROPPED     203.0.113.9   shop/db       5432/tcp        POLICY_DEFAULT_IN  default:in",
      "2026-01-01T03:12:02.000Z   AUDIT       shop/web      2001:db8::9   icmpv6(128/0)   web -> internet (/srv/shop.yaml:9)",
      "2026-01-01T03:12:03.000Z   DROPPED     -             -             -               INVALID_SOURCE_MAC",
      "",
    ].join("\n"),
  });
});

test("-o jsonl: one Hubble GetFlowsResponse a line, with the fields of the .proto files", async (t) => {
  const { out } = await hawser(await serve(t), ["observe", "-o", "jsonl"]);
  const lines = out.trimEnd().split("\n").map((line) => JSON.parse(line) as unknown);
  t.is(lines.length, 4);
  t.deepEqual(lines[1], {
    flow: {
      time: "2026-01-01T03:12:01.000000007Z", verdict: "DROPPED", drop_reason: 133,
      IP: { source: "203.0.113.9", destination: "10.44.0.4", ipVersion: "IPv4" },
      l4: { TCP: { source_port: 51_000, destination_port: 5432, flags: { SYN: true } } },
      source: {},
      destination: { ID: 1_666_676_438, identity: 257, namespace: "shop", pod_name: "db" },
      Type: "L3_L4", node_name: "edge-1", event_type: { type: 1, sub_type: 133 }, traffic_direction: "INGRESS", drop_reason_desc: "POLICY_DENIED",
      is_reply: false, interface: { name: "eth0" }, ingress_denied_by: [{ name: "default:in", kind: "default" }], Summary: "POLICY_DEFAULT_IN; TCP Flags: SYN",
      hawser: {
        reason: "POLICY_DEFAULT_IN", direction: "from-uplink", length: 74, rule: "default:in", protocol: 6,
        destination_container_id: `c0ffff${"0".repeat(58)}`,
      },
    },
    node_name: "edge-1",
    time: "2026-01-01T03:12:01.000000007Z",
  });
  t.like(lines[0], {
    flow: {
      verdict: "FORWARDED", traffic_direction: "EGRESS", source: { identity: 256, labels: ["network=shop", "service=web"], pod_name: "web" },
      egress_allowed_by: [{ name: "shop", kind: "policy" }],
    },
  });
  t.like(lines[2], { flow: { verdict: "AUDIT", l4: { ICMPv6: { type: 128 } }, egress_denied_by: [{ name: "shop" }] } });
});

test("-o json is one list of the same", async (t) => {
  const socket = await serve(t);
  const list = JSON.parse((await hawser(socket, ["observe", "-o", "json"])).out) as unknown[];
  const lines = (await hawser(socket, ["observe", "-o", "jsonl"])).out.trimEnd().split("\n").map((line) => JSON.parse(line) as unknown);
  t.deepEqual(list, lines);
  t.is((await hawser(await serve(t, { flows: flowsOf([]) }), ["observe", "-o", "json"])).out, "[]\n");
});

test("the options are the engine's question", async (t) => {
  const asked: FlowQuery[] = [];
  const socket = await serve(t, { flows: (query, signal) => (asked.push(query), flowsOf(flows)(query, signal)) });
  const question = async (...words: readonly string[]): Promise<FlowQuery | undefined> => {
    t.is((await hawser(socket, ["observe", ...words])).code, 0, words.join(" "));
    return asked.at(-1);
  };
  const plain = { last: 20, follow: false, verdicts: [], from: "", to: "", with: "", since: 0 };
  t.deepEqual(await question(), plain);
  t.deepEqual(await question("--last", "3", "--verdict", "dropped,audit", "--from", "web", "--to", "db"), { ...plain, last: 3, verdicts: ["DROPPED", "AUDIT"], from: "web", to: "db" });
  t.deepEqual(await question("--verdict", "FORWARDED", "--verdict", "dropped", "--with", "host"), { ...plain, verdicts: ["FORWARDED", "DROPPED"], with: "host" });
  // The harness's clock stands at 03:12:05.
  t.deepEqual(await question("--since", "5s"), { ...plain, last: Number.MAX_SAFE_INTEGER, since: Date.UTC(2026, 0, 1, 3, 12) });
  t.like(await question("--since", "2026-01-01T03:12:01.5Z", "-n", "2"), { last: 2, since: Date.UTC(2026, 0, 1, 3, 12, 1, 500) });
});

test("--follow prints each flow when it comes, as a table without a heading where no one looks", async (t) => {
  const gate = Promise.withResolvers<void>();
  async function* coming(): AsyncGenerator<(typeof flows)[number]> {
    yield* flows.slice(1, 2);
    await gate.promise;
    yield* flows.slice(2, 3);
  }
  const socket = await serve(t, {
    flows: async function* (query) {
      t.like(query, { last: 0, follow: true });
      yield* coming();
    },
  });
  let seen = "";
  const first = Promise.withResolvers<void>();
  const running = hawser(socket, ["observe", "--follow"], { stdout: { write: (text) => (seen += text, first.resolve()) } });
  await first.promise;
  t.regex(seen, /^2026-01-01T03:12:01\.000Z {3}DROPPED {5}203\.0\.113\.9 {12}shop\/db {16}5432\/tcp {3}POLICY_DEFAULT_IN {2}default:in\n$/);
  gate.resolve();
  t.is((await running).code, 0);
  t.regex(seen, /\n2026-01-01T03:12:02\.000Z {3}AUDIT .* icmpv6\(128\/0\) {3}web -> internet \(\/srv\/shop\.yaml:9\)\n$/);
});

test("a name that nobody has now is told, since its flows are none or long ago; services, ids, addresses and labels are not", async (t) => {
  const socket = await serve(t);
  const told = async (...words: readonly string[]): Promise<string> => (await hawser(socket, ["observe", ...words])).err;
  t.is(await told("--from", "wbe", "--to", "store/db"), [
    "hawser: warning: nothing here is called \"wbe\" now; did you mean \"web\"?",
    "hawser: warning: nothing here is called \"store/db\" now; `hawser endpoint list` shows what there is",
    "",
  ].join("\n"));
  for (const who of ["web", "shop/web", "c0ffee", "host", "world", "10.44.0.2", "10.44.0.0/16", "fd44::2", "fd44::/64", "label(tier)"]) t.is(await told("--with", who), "", who);
});

test("an end that the engine refuses is an error with its hint", async (t) => {
  const socket = await serve(t, {
    flows: () => {
      throw new HawserError("BAD_REQUEST", "\"net(shop)\" names no end of a flow");
    },
  });
  t.deepEqual(await hawser(socket, ["observe", "--from", "net(shop)"]), { code: 1, out: "", err: "hawser: \"net(shop)\" names no end of a flow [BAD_REQUEST]\n" });
});
