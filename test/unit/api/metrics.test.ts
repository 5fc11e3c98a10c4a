// Metrics: the names that dashboards rely on, Prometheus' text format, and the small HTTP server.
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import test from "ava";
import { connect } from "../../../src/api/client.ts";
import { serveMetrics } from "../../../src/api/metrics-server.ts";
import type { BackendTraffic } from "../../../src/engine/types.ts";
import { family } from "../../../src/api/metrics-text.ts";
import { metricsText } from "../../../src/api/metrics.ts";
import { startApi } from "../../../src/api/server.ts";
import { commands, logTo, queriesOf, status } from "./world.ts";

const counters = [
  { direction: "from-container", reason: "forwarded", packets: 2n ** 60n, bytes: 2n ** 62n },
  { direction: "from-container", reason: "policy-default-out", packets: 3n, bytes: 180n },
  { direction: "from-uplink", reason: "event-lost", packets: 4n, bytes: 240n },
  { direction: "from-container", reason: "event-lost", packets: 1n, bytes: 60n },
];

const queries = queriesOf({
  status: () => Promise.resolve({ ...status, counters }),
  dumpMap: (name) => Promise.resolve(name === "hw_policy_state" ? [{ key: 0, value: { revision: 42 } }] : []),
});

interface Reply {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

function get(port: number, path: string, method = "GET", headers: Readonly<Record<string, string>> = {}): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const call = request({ host: "127.0.0.1", port, path, method, headers, agent: false }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, type: response.headers["content-type"] ?? "", body }), reject);
    });
    call.on("error", reject);
    call.end();
  });
}

test("arrays have no entries to count, so that none is ever nearly full", async (t) => {
  const lines = (await metricsText(queries)).split("\n").filter((line) => line.includes("hw_metrics"));
  t.deepEqual(lines, ["hawser_map_capacity{map=\"hw_metrics\"} 512"]);
});

test("the contract's metrics, with the reasons as docs/drops.md names them", async (t) => {
  const lines = (await metricsText(queries)).split("\n");
  for (const line of [
    "hawser_drops_total{reason=\"POLICY_DEFAULT_OUT\",direction=\"from-container\"} 3",
    "hawser_forwarded_total{direction=\"from-container\"} 1152921504606846976",
    "hawser_lost_events_total 5",
    "hawser_map_entries{map=\"hw_ct4\"} 130000",
    "hawser_map_capacity{map=\"hw_ct4\"} 131072",
    "hawser_endpoints{state=\"init\"} 1",
    "hawser_endpoints{state=\"ready\"} 3",
    "hawser_identities 2",
    "hawser_policy_rules 3",
    "hawser_policies{state=\"rejected\"} 1",
    "hawser_policy_revision 42",
    "hawser_flows_total{verdict=\"DROPPED\"} 5",
    "hawser_build_info{version=\"0.1.0\",node=\"edge-1\"} 1",
    "hawser_service_addresses{holder=\"self\"} 1",
    "hawser_service_addresses{holder=\"other\"} 1",
    "hawser_service_addresses{holder=\"nobody\"} 0",
    "hawser_part_ok{part=\"docker\"} 0",
    "hawser_service_packets_total{service=\"web\",backend=\"edge-1/shop/web:8080\"} 1152921504606846976",
    "hawser_service_bytes_total{service=\"api,web\",backend=\"192.0.2.7:8080\"} 600",
    "hawser_service_new_flows_total{service=\"web\",backend=\"edge-1/shop/web:8080\"} 40",
    "hawser_service_flows{service=\"api,web\",backend=\"192.0.2.7:8080\"} 7",
  ]) t.true(lines.includes(line), line);
  t.is(lines.filter((line) => line.startsWith("hawser_drops_total{")).length, 1);
});

test("every line of the text is one of the format's, and no series comes twice", async (t) => {
  const body = await metricsText(queries);
  t.true(body.endsWith("\n"));
  const lines = body.trimEnd().split("\n");
  const series = lines.filter((line) => !line.startsWith("#"));
  for (const line of series) t.regex(line, /^[a-z_]+(\{([a-z]+="([^"\\\n]|\\["\\n])*",?)+\})? [0-9.]+$/);
  t.is(new Set(series.map((line) => line.slice(0, line.lastIndexOf(" ")))).size, series.length);
  t.is(lines.filter((line) => line.startsWith("# HELP ")).length, lines.filter((line) => line.startsWith("# TYPE ")).length);
});

test("a node that the kernel holds no policy of has revision 0, whatever the map's dump says", async (t) => {
  const none = queriesOf({ dumpMap: () => Promise.reject(new Error("no map")) });
  t.true((await metricsText(none)).includes("\nhawser_policy_revision 0\n"));
});

test("of more than a thousand backends each service is told of as a whole", async (t) => {
  const backend = (i: number): BackendTraffic => ({ services: [i % 2 === 0 ? "even" : "odd"], backend: `10.0.${i >> 8}.${i & 255}:80`, packets: 2n, bytes: 100n, begun: 1n, flows: 3 });
  const of = async (count: number): Promise<readonly string[]> => {
    const text = await metricsText(queriesOf({ serviceTraffic: () => Promise.resolve({ flows: new Map(), backends: Array.from({ length: count }, (_, i) => backend(i)) }) }));
    return text.split("\n").filter((line) => line.startsWith("hawser_service_") && line.includes("service="));
  };
  t.is((await of(1000)).length, 4000);
  t.deepEqual(await of(1001), ["packets_total", "bytes_total", "new_flows_total", "flows"].flatMap((name, i) => ["even", "odd"].map((service, odd) =>
    `hawser_service_${name}{service="${service}",backend=""} ${(501 - odd) * ([2, 100, 1, 3][i] ?? 0)}`)));
});

test("label values and help are escaped", (t) => {
  t.is(family("m", "gauge", "one\\two\nthree", [[{ a: "x\"y\\z\n" }, 1]]), "# HELP m one\\\\two\\nthree\n# TYPE m gauge\nm{a=\"x\\\"y\\\\z\\n\"} 1\n");
  t.is(family("m", "counter", "nothing yet", []), "# HELP m nothing yet\n# TYPE m counter\n");
});

test("the same text comes over the API", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "hawser-api-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await using api = await startApi({ queries, commands, socket: join(folder, "hawser.sock"), group: null, log: logTo([]) });
  using client = await connect(api.socket);
  t.is(await client.metrics(), await metricsText(queries));
});

test("GET /metrics whatever the Host; every other path is 404, every other method 405", async (t) => {
  await using server = await serveMetrics({ listen: "127.0.0.1:0", queries, log: logTo([]) });
  t.is(server.address, "127.0.0.1");
  const body = await metricsText(queries);
  t.deepEqual(await get(server.port, "/metrics", "GET", { host: "somewhere.example:80" }), { status: 200, type: "text/plain; version=0.0.4; charset=utf-8", body });
  t.is((await get(server.port, "/metrics?x=1")).status, 200);
  t.like(await get(server.port, "/metrics", "HEAD"), { status: 200, body: "" });
  for (const path of ["/", "/metrics/", "/metricsx", "/debug", "//metrics", "/%2e%2e/metrics"]) t.is((await get(server.port, path)).status, 404, path);
  for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) t.is((await get(server.port, "/metrics", method)).status, 405, method);
});

test("scrapes that come together are one question to the engine; one that fails is a 500 and the next is asked again", async (t) => {
  let asked = 0;
  const slow = queriesOf({
    maps: async () => {
      if (++asked === 1) throw new Error("no map");
      await new Promise((resolve) => setTimeout(resolve, 50));
      return [];
    },
  });
  const lines: string[] = [];
  await using server = await serveMetrics({ listen: "127.0.0.1:0", queries: slow, log: logTo(lines) });
  t.is((await get(server.port, "/metrics")).status, 500);
  t.true(lines.some((line) => line.includes("no map")));
  const replies = await Promise.all(Array.from({ length: 8 }, () => get(server.port, "/metrics")));
  t.deepEqual(replies.map((reply) => reply.status), Array.from({ length: 8 }, () => 200));
  t.true(asked < 9);
});

test("a port that is taken, and an address that is not the host's, are errors naming the key", async (t) => {
  await using server = await serveMetrics({ listen: "127.0.0.1:0", queries, log: logTo([]) });
  await t.throwsAsync(serveMetrics({ listen: `127.0.0.1:${server.port}`, queries, log: logTo([]) }), { code: "PORT_IN_USE", message: /metrics\.listen/ });
  await t.throwsAsync(serveMetrics({ listen: "192.0.2.1:9964", queries, log: logTo([]) }), { code: "BAD_CONFIG", message: /metrics\.listen/ });
  await t.throwsAsync(serveMetrics({ listen: "9964", queries, log: logTo([]) }), { code: "BAD_CONFIG", message: /metrics\.listen/ });
});
