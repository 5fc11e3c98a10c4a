// The door under stress: malformed and empty requests, deadlines, many at once, and who may own the socket.
import { once } from "node:events";
import { spawn } from "node:child_process";
import { link, mkdtemp, rename, rm, stat, writeFile } from "node:fs/promises";
import { readFileSync, globSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { serveLibnetwork } from "../../../src/libnetwork/server.ts";
import { createLog } from "../../../src/std/log.ts";
import { callOn, createWorld, serve } from "./dockerd.ts";

const net = "918f".padEnd(64, "0");
const eth = (n: number): string => n.toString(16).padStart(11, "0").padEnd(64, "0");
const four = (change: object = {}) => ({
  NetworkID: net, Options: { "com.docker.network.generic": {} }, IPv4Data: [{ AddressSpace: "x", Gateway: "10.50.0.1/24", Pool: "10.50.0.0/24" }], IPv6Data: [], ...change,
});
const endpoint = (n: number, change: object = {}) => ({ NetworkID: net, EndpointID: eth(n), Interface: { Address: `10.50.0.${n}/24` }, Options: {}, ...change });
const mapped = (port: object) => ({ NetworkID: net, EndpointID: eth(2), Options: { "com.docker.network.portmap": [{ Proto: 6, Port: 80, HostIP: "", HostPort: 80, HostPortEnd: 80, ...port }] } });
const map = "com.docker.network.portmap";

const malformed: readonly (readonly [string, unknown, string])[] = [
  ["NetworkDriver.CreateEndpoint", "", "the request has no body; Docker lost it on a retry, so please try again"],
  ["NetworkDriver.CreateEndpoint", "{", "the request's body is not JSON"],
  ["NetworkDriver.CreateEndpoint", "[".repeat(100_000), "the request's body is not JSON"],
  ["NetworkDriver.CreateEndpoint", "null", "the request's body: null is not an object"],
  ["NetworkDriver.CreateEndpoint", [], "the request's body: [] is not an object"],
  ["NetworkDriver.CreateEndpoint", {}, "EndpointID is missing; it must be a string"],
  ["NetworkDriver.CreateEndpoint", { EndpointID: 7 }, "EndpointID: 7 is not a string"],
  ["NetworkDriver.CreateEndpoint", { EndpointID: "../../etc", NetworkID: net }, 'EndpointID: "../../etc" is not an id of Docker\'s (hex digits)'],
  ["NetworkDriver.CreateEndpoint", endpoint(2, { Interface: "eth0" }), 'Interface: "eth0" is not an object'],
  ["NetworkDriver.CreateEndpoint", endpoint(2, { Interface: { Address: 7 } }), "Interface.Address: 7 is not a string"],
  ["NetworkDriver.CreateEndpoint", endpoint(2, { Options: { "com.docker.network.endpoint.macaddress": "AhEi" } }), 'com.docker.network.endpoint.macaddress: "AhEi" is not six bytes in base64'],
  ["NetworkDriver.CreateNetwork", four({ IPv4Data: {} }), "IPv4Data: {} is not a list"],
  ["NetworkDriver.CreateNetwork", four({ IPv4Data: [{ Gateway: "10.50.0.1/24" }] }), "IPv4Data[0].Pool is missing; it must be a string"],
  ["NetworkDriver.CreateNetwork", four({ IPv4Data: [{ Pool: "banana" }] }), 'IPv4Data.Pool: "banana" is not an address with a prefix length, such as 10.44.0.0/24'],
  ["NetworkDriver.CreateNetwork", four({ Options: { "com.docker.network.internal": "yes" } }), 'Options.com.docker.network.internal: "yes" is not true or false'],
  ["NetworkDriver.CreateNetwork", four({ Options: { "com.docker.network.generic": { a: 1 } } }), "Options.com.docker.network.generic.a: 1 is not a string"],
  ["NetworkDriver.CreateNetwork", four({ Options: { "com.docker.network.generic": { "hawser.mtu": "banana" } } }), 'option hawser.mtu: "banana" is not a whole number from 576 to 65535'],
  ["NetworkDriver.Join", { NetworkID: net, EndpointID: eth(2) }, "SandboxKey is missing; it must be a string"],
  ["NetworkDriver.ProgramExternalConnectivity", { NetworkID: net, EndpointID: eth(2), Options: { [map]: "80" } }, `Options.${map}: "80" is not a list`],
  ["NetworkDriver.ProgramExternalConnectivity", mapped({ Proto: 1 }), `${map}[0].Proto: protocol 1 cannot be published; tcp, udp and sctp can`],
  ["NetworkDriver.ProgramExternalConnectivity", mapped({ Port: 65536 }), `${map}[0].Port: 65536 is not a whole number from 0 to 65535`],
  ["NetworkDriver.ProgramExternalConnectivity", mapped({ HostPort: "80" }), `${map}[0].HostPort: "80" is not a whole number from 0 to 65535`],
  ["NetworkDriver.ProgramExternalConnectivity", mapped({ HostPortEnd: 79 }), `${map}[0].HostPortEnd: 79 is not 80 or more`],
  ["NetworkDriver.ProgramExternalConnectivity", mapped({ HostIP: "localhost" }), `${map}[0].HostIP: "localhost" is not an IPv4 or IPv6 address`],
  ["IpamDriver.RequestPool", "", "the request has no body; Docker lost it on a retry, so please try again"],
  ["IpamDriver.RequestPool", { V6: 1 }, "V6: 1 is not true or false"],
  ["IpamDriver.RequestAddress", { Address: "" }, "PoolID is missing; it must be a string"],
  ["IpamDriver.RequestAddress", { PoolID: "10.50.0.0/24", Address: "10.50.0.999" }, "address pool 10.50.0.0/24 is not known to Hawser; it is taken over from Docker within 30 seconds, try again"],
  ["IpamDriver.ReleaseAddress", { PoolID: "x", Address: "banana" }, 'Address: "banana" is not an IPv4 or IPv6 address'],
];

for (const [name, body, sentence] of malformed) {
  test(`${name} refuses ${typeof body === "string" ? JSON.stringify(body.slice(0, 20)) : JSON.stringify(body)} (R90)`, async (t) => {
    const { call, steps } = await serve(t);
    const answer = await call(`/${name}`, body);
    t.is(answer.status, 200);
    t.deepEqual(answer.json, { [name.startsWith("Ipam") ? "Error" : "Err"]: sentence });
    t.deepEqual(steps, []);
  });
}

test("a body over a mebibyte is refused, and the server goes on (R90)", async (t) => {
  const { call } = await serve(t);
  const huge = await call("/NetworkDriver.CreateNetwork", `"${"x".repeat(1024 * 1024)}"`);
  t.deepEqual(huge.json, { Err: "the request's body is larger than 1048576 bytes" });
  t.is((await call("/Plugin.Activate")).status, 200);
});

test("unknown calls get 404, which Docker allows where a call is optional, and other methods 405", async (t) => {
  const { call } = await serve(t);
  t.deepEqual(await call("/NetworkDriver.Fly", {}), { status: 404, text: '{"Err":"/NetworkDriver.Fly is not a call that Hawser knows"}', json: { Err: "/NetworkDriver.Fly is not a call that Hawser knows" } });
  t.deepEqual((await call("/IpamDriver.Fly", {})).json, { Error: "/IpamDriver.Fly is not a call that Hawser knows" });
  t.is((await call("/Plugin.Activate", undefined, "GET")).status, 405);
});

test("a call that takes too long is answered in time, and its signal says so", async (t) => {
  const { commands } = createWorld();
  const reasons: unknown[] = [];
  const stuck = { ...commands, join: (_: unknown, signal?: AbortSignal) => new Promise<never>(() => signal?.addEventListener("abort", () => reasons.push(signal.reason))) };
  const { call } = await serve(t, { commands: stuck, deadlines: { "/NetworkDriver.Join": 50 } });
  const late = await call("/NetworkDriver.Join", { NetworkID: net, EndpointID: eth(2), SandboxKey: "/x" });
  t.deepEqual(late.json, { Err: "NetworkDriver.Join took longer than 50 ms and was given up; see hawser status" });
  t.is(reasons.length, 1);
  t.is((await call("/Plugin.Activate")).status, 200);
});

test("before the agent is ready it activates at once, and the rest waits no longer than its deadline (R91)", async (t) => {
  const gate = Promise.withResolvers<void>();
  const { call, steps } = await serve(t, { ready: gate.promise, deadlines: { "/IpamDriver.RequestPool": 50 } });
  t.is((await call("/Plugin.Activate")).status, 200);
  t.regex((await call("/IpamDriver.RequestPool", { Pool: "", V6: false })).text, /took longer than 50 ms/);
  const waiting = call("/NetworkDriver.CreateNetwork", four());
  t.deepEqual(steps, []);
  gate.resolve();
  t.deepEqual((await waiting).json, {});
  t.is(steps.length, 1);
});

test("a fault of ours is told, logged and survived", async (t) => {
  const { commands } = createWorld();
  const broken = { ...commands, leave: () => Promise.reject(new TypeError("boom")) };
  const { call, log } = await serve(t, { commands: broken });
  t.deepEqual((await call("/NetworkDriver.Leave", { NetworkID: net, EndpointID: eth(2) })).json, { Err: "boom" });
  t.true(log.some((line) => line.includes('"level":"error"') && line.includes('"code":"INTERNAL"')));
});

test("a hundred containers start and end at once, and nothing is left (R94)", async (t) => {
  const { call, steps, state } = await serve(t);
  await call("/NetworkDriver.CreateNetwork", four());
  await Promise.all(Array.from({ length: 100 }, async (_, i) => {
    const n = i + 2;
    const ref = { NetworkID: net, EndpointID: eth(n) };
    const options = { [map]: [{ Proto: 6, Port: 80, HostIP: "", HostPort: 0, HostPortEnd: 0 }] };
    await call("/NetworkDriver.CreateEndpoint", endpoint(n));
    await call("/NetworkDriver.Join", { ...ref, SandboxKey: `/run/docker/netns/${n}`, Options: options });
    t.deepEqual((await call("/NetworkDriver.ProgramExternalConnectivity", { ...ref, Options: options })).json, {});
    t.regex((await call("/NetworkDriver.EndpointOperInfo", ref)).text, /"HostPort":\d{5}/);
    for (const name of ["RevokeExternalConnectivity", "Leave", "DeleteEndpoint"]) await call(`/NetworkDriver.${name}`, ref);
  }));
  t.is(state().endpoints.size, 0);
  t.is(steps.length, 1 + 100 * 9);
});

test("the socket is for root and its group only (R81), and goes with the server", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "hawser-plugin-"));
  t.teardown(() => rm(directory, { recursive: true }));
  const options = { ...createWorld(), log: createLog(() => undefined, () => 0), pluginDirectory: join(directory, "plugins") };
  const path = join(directory, "plugins", "hawser.sock");
  {
    await using _server = await serveLibnetwork(options);
    t.is((await stat(path)).mode & 0o777, 0o660);
    t.deepEqual((await callOn(path, "/Plugin.Activate")).json, { Implements: ["NetworkDriver", "IpamDriver"] });
  }
  await t.throwsAsync(stat(path), { code: "ENOENT" });
});

test("a leftover socket is replaced, a served one and any other file are not", async (t) => {
  const { directory, socket, call } = await serve(t);
  const options = { ...createWorld(), log: createLog(() => undefined, () => 0), pluginDirectory: directory };
  await t.throwsAsync(serveLibnetwork(options), { code: "ALREADY_EXISTS", message: `another agent serves ${socket}; stop it first, or set docker.pluginDirectory` });
  t.is((await call("/Plugin.Activate")).status, 200);

  const other = await mkdtemp(join(tmpdir(), "hawser-plugin-"));
  t.teardown(() => rm(other, { recursive: true }));
  const path = join(other, "hawser.sock");
  // Killed, so that it leaves its socket's file behind.
  const child = spawn(process.execPath, ["-e", `require("net").createServer().listen(${JSON.stringify(path)}, () => console.log("up"))`], { stdio: ["ignore", "pipe", "ignore"] });
  await once(child.stdout, "data");
  child.kill("SIGKILL");
  await once(child, "exit");
  t.true((await stat(path)).isSocket());
  {
    await using _server = await serveLibnetwork({ ...options, pluginDirectory: other });
    t.is((await callOn(path, "/Plugin.Activate")).status, 200);
  }
  await writeFile(path, "mine");
  await t.throwsAsync(serveLibnetwork({ ...options, pluginDirectory: other }), { code: "BAD_CONFIG", message: /is not a socket/ });
});

test("a socket that systemd opened is served, and its file stays", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "hawser-plugin-"));
  t.teardown(() => rm(directory, { recursive: true }));
  const path = join(directory, "hawser.sock");
  const server = new URL("../../../src/libnetwork/server.ts", import.meta.url).href;
  const code = `const { serveLibnetwork } = await import(${JSON.stringify(server)});
    const nothing = () => undefined;
    const log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
    const served = await serveLibnetwork({ commands: {}, queries: { endpoints: () => [] }, log, pluginDirectory: "/nonexistent", fd: 3 });
    process.stdin.once("data", async () => { await served[Symbol.asyncDispose](); process.exit(0); });
    console.log("up");`;
  // The parent listens, hands its descriptor down as number 3, as systemd does, and accepts nothing itself.
  const parent = createServer();
  parent.listen(path);
  await once(parent, "listening");
  const { fd } = (parent as unknown as { readonly _handle: { readonly fd: number } })._handle;
  const child = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["pipe", "pipe", "inherit", fd] });
  const { stdin, stdout } = child;
  if (!stdin || !stdout) return t.fail("no pipes");
  await once(stdout, "data");
  // Closing removes the file that the parent made, so that a second name for it must carry on.
  await link(path, `${path}.kept`);
  await new Promise((resolve) => parent.close(resolve));
  await rename(`${path}.kept`, path);
  t.deepEqual((await callOn(path, "/Plugin.Activate")).json, { Implements: ["NetworkDriver", "IpamDriver"] });
  stdin.write("stop");
  await once(child, "exit");
  t.true((await stat(path)).isSocket());
});

test("no file of this door can ask Docker anything (R92)", (t) => {
  const root = new URL("../../../src/libnetwork/", import.meta.url).pathname;
  for (const file of globSync("**/*.ts", { cwd: root })) t.notRegex(readFileSync(join(root, file), "utf8"), /dockerode|docker\.sock|\/containers\//, file);
});
