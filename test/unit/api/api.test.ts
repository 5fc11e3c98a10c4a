// The API over a real unix socket: every call there and back, errors with their codes, the socket's rights.
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { connect } from "../../../src/api/client.ts";
import { startApi, type ApiOptions } from "../../../src/api/server.ts";
import type { ApiClient, MapEntryView } from "../../../src/api/types.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { commands, endpoints, far, logTo, maps, networks, nodes, ports, queriesOf, status } from "./world.ts";

async function folderFor(t: ExecutionContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "hawser-api-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

async function agent(t: ExecutionContext, change: Partial<ApiOptions> = {}): Promise<ApiClient & { readonly socket: string }> {
  const socket = join(await folderFor(t), "run", "hawser.sock");
  const api = await startApi({ queries: queriesOf(), commands, socket, group: null, log: logTo([]), ...change });
  t.teardown(() => api.close());
  const client = await connect(socket);
  t.teardown(() => client[Symbol.dispose]());
  return { ...client, socket };
}

async function all(entries: AsyncIterable<MapEntryView>): Promise<readonly MapEntryView[]> {
  const found: MapEntryView[] = [];
  for await (const entry of entries) found.push(entry);
  return found;
}

test("what the engine knows arrives unchanged, 64-bit counters included", async (t) => {
  const client = await agent(t);
  t.deepEqual(await client.status(), status);
  t.deepEqual(await client.endpoints(), endpoints);
  t.deepEqual(await client.endpoints(true), [...endpoints, far]);
  t.deepEqual(await client.nodes(), nodes);
  t.deepEqual(await client.node("edge-2"), nodes[1]);
  t.deepEqual(await client.networks(), networks);
  t.deepEqual(await client.ports(), ports);
  t.deepEqual(await client.maps(), maps);
  t.deepEqual(await client.endpoint("db"), endpoints[3]);
  t.deepEqual(await client.network("back"), networks[1]);
  t.deepEqual(await client.reconcile(), { removedEndpoints: [endpoints[0]?.id], removedNetworks: [], identified: 2, restored: [], refused: [] });
  t.deepEqual(await client.sweep(), [{ kind: "link", name: "hwdeadbeef000" }]);
});

test("a map's entries come as plain JSON, at most as many as asked for", async (t) => {
  const client = await agent(t);
  t.deepEqual(await all(client.dumpMap("hw_endpoints", 0)), [
    { key: { ifindex: 7 }, value: { mac: "02:42:0a:2c:00:02", ipv4: "10.44.0.2", flags: [1, 2] } },
    { key: { ifindex: 9 }, value: { mac: "02:42:0a:2c:00:04", packets: "1152921504606846976" } },
  ]);
  t.is((await all(client.dumpMap("hw_endpoints", 1))).length, 1);
});

test("a large map streams whole, and a reader that stops early ends the call", async (t) => {
  const many = Array.from({ length: 30_000 }, (_, i) => ({ key: i, value: { text: "x".repeat(100) } }));
  const client = await agent(t, { queries: queriesOf({ dumpMap: (_name, limit) => Promise.resolve(many.slice(0, limit)) }) });
  t.deepEqual((await all(client.dumpMap("hw_ct4", 0))).map((entry) => entry.key), many.map((entry) => entry.key));
  let seen = 0;
  for await (const _entry of client.dumpMap("hw_ct4", 0)) if (++seen === 10) break;
  t.is(seen, 10);
  t.is((await client.maps()).length, 3);
});

test("a map that does not exist is refused with the nearest name", async (t) => {
  const client = await agent(t);
  await t.throwsAsync(all(client.dumpMap("hw_endpoint", 0)), { instanceOf: HawserError, code: "NOT_FOUND", message: /did you mean "hw_endpoints"/ });
  await t.throwsAsync(all(client.dumpMap("ct4", 0)), { code: "NOT_FOUND", message: /did you mean "hw_ct4"/ });
  await t.throwsAsync(all(client.dumpMap("other", 0)), { code: "NOT_FOUND", message: /known are hw_endpoints, hw_metrics, hw_ct4/ });
});

test("other nodes are told with the status, and a node that nobody knows is refused with the nearest name", async (t) => {
  const peers = nodes.slice(1);
  const client = await agent(t, { queries: queriesOf({ status: () => Promise.resolve({ ...status, peers }) }) });
  t.deepEqual((await client.status()).peers, peers);
  await t.throwsAsync(client.node("edge2"), { code: "NOT_FOUND", message: 'no node "edge2" is known; did you mean "edge-2"?' });
});

test("an error keeps its code and its sentence, whatever letters are in it", async (t) => {
  const message = "the pool 10.44.0.0/26 has no free address — größer wählen; 100 %";
  const client = await agent(t, { queries: queriesOf({ status: () => Promise.reject(new HawserError("NO_FREE_ADDRESS", message)) }) });
  await t.throwsAsync(client.status(), { instanceOf: HawserError, code: "NO_FREE_ADDRESS", message });
});

test("something thrown that is no HawserError arrives as INTERNAL, and the agent goes on", async (t) => {
  const lines: string[] = [];
  const client = await agent(t, {
    log: logTo(lines),
    queries: queriesOf({ endpoints: () => { throw new TypeError("nothing there"); }, maps: () => Promise.reject(new Error("no map")) }),
  });
  await t.throwsAsync(client.endpoints(), { code: "INTERNAL", message: "nothing there" });
  await t.throwsAsync(all(client.dumpMap("hw_ct4", 0)), { code: "INTERNAL", message: "no map" });
  t.is((await client.networks()).length, 2);
  t.true(lines.some((line) => line.includes("a call failed") && line.includes("nothing there")));
});

test("the socket is for its owner and group alone, from the first moment it can be seen", async (t) => {
  const client = await agent(t, { group: "a-group-that-does-not-exist" });
  const { mode } = await stat(client.socket);
  t.is(mode & 0o777, 0o660);
});

test("a stale socket is replaced, a living one is not", async (t) => {
  const folder = await folderFor(t);
  const socket = join(folder, "hawser.sock");
  await writeFile(socket, "");
  const first = await startApi({ queries: queriesOf(), commands, socket, group: null, log: logTo([]) });
  await t.throwsAsync(startApi({ queries: queriesOf(), commands, socket, group: null, log: logTo([]) }), { code: "IN_USE", message: /another agent/ });
  using client = await connect(socket);
  t.is((await client.networks()).length, 2);
  await first.close();
  await t.throwsAsync(stat(socket), { code: "ENOENT" });
});

test("a socket's path that the kernel cannot hold is a configuration error", async (t) => {
  const socket = join(await folderFor(t), "x".repeat(100));
  await t.throwsAsync(startApi({ queries: queriesOf(), commands, socket, group: null, log: logTo([]) }), { code: "BAD_CONFIG", message: /api\.socket/ });
});

test("no socket, nobody behind it, and one that never speaks gRPC are all AGENT_UNREACHABLE", async (t) => {
  const folder = await folderFor(t);
  await t.throwsAsync(connect(join(folder, "none.sock")), { code: "AGENT_UNREACHABLE", message: /no such socket/ });
  await writeFile(join(folder, "file.sock"), "");
  await t.throwsAsync(connect(join(folder, "file.sock")), { code: "AGENT_UNREACHABLE", message: /nothing listens/ });

  const connections: Socket[] = [];
  const silent = createServer((connection) => void connections.push(connection.resume())).listen(join(folder, "silent.sock"));
  t.teardown(() => {
    silent.close();
    for (const connection of connections) connection.destroy();
  });
  using client = await connect(join(folder, "silent.sock"), { deadline: 300 });
  await t.throwsAsync(client.status(), { code: "AGENT_UNREACHABLE" });
});

test("an agent that goes away under a client is AGENT_UNREACHABLE", async (t) => {
  const socket = join(await folderFor(t), "hawser.sock");
  const api = await startApi({ queries: queriesOf(), commands, socket, group: null, log: logTo([]) });
  using client = await connect(socket);
  await client.status();
  await api.close();
  await t.throwsAsync(client.status(), { code: "AGENT_UNREACHABLE" });
});

test("closing waits for no caller longer than a second", async (t) => {
  const socket = join(await folderFor(t), "hawser.sock");
  const never = new Promise<never>(() => undefined);
  const api = await startApi({ queries: queriesOf({ status: () => never }), commands, socket, group: null, log: logTo([]) });
  using client = await connect(socket);
  const call = client.status();
  call.catch(() => undefined);
  await client.maps();
  const before = Date.now();
  await Promise.all([api.close(), api.close()]);
  t.true(Date.now() - before < 2500);
  await t.throwsAsync(call, { code: "AGENT_UNREACHABLE" });
});
