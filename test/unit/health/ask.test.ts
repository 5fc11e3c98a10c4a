// One probe at a time against servers on loopback: those that are well, and each way of not being well.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import test from "ava";
import { createAsk } from "../../../src/health/ask.ts";
import type { Verdict } from "../../../src/health/answer.ts";
import type { Asked } from "../../../src/health/types.ts";
import { parseIp } from "../../../src/std/ip.ts";

interface Listening extends AsyncDisposable {
  readonly port: number;
}

async function serve(answer: (socket: Socket) => void, address = "127.0.0.1"): Promise<Listening> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket.on("error", () => undefined));
    answer(socket);
  }).listen(0, address);
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** Answers once the request is whole. */
const http = (answer: string): (socket: Socket) => void => (socket) => void socket.once("data", () => socket.end(answer));

/** What a probe finds that has `timeout` milliseconds. */
async function probe(port: number, more: Partial<Asked> = {}): Promise<Verdict> {
  const target: Asked = { key: 1, address: parseIp("127.0.0.1"), port, kind: "http", path: "/", interval: 1000, timeout: 1000, ...more };
  const { promise, resolve } = Promise.withResolvers<Verdict>();
  const asked = createAsk()(target, resolve);
  const timer = setTimeout(() => setImmediate(() => resolve(asked.stop())), target.timeout);
  const verdict = await promise;
  clearTimeout(timer);
  return verdict;
}

test("who accepts a connection is well, over IPv4 and IPv6", async (t) => {
  await using four = await serve(() => {});
  await using six = await serve(() => {}, "::1");
  t.deepEqual(await probe(four.port, { kind: "tcp" }), { ok: true, why: "connected" });
  t.deepEqual(await probe(six.port, { kind: "tcp", address: parseIp("::1") }), { ok: true, why: "connected" });
});

test("who refuses is not, and that is known at once", async (t) => {
  const { port } = await (async () => { await using gone = await serve(() => {}); return gone; })();
  t.deepEqual(await probe(port, { kind: "tcp", timeout: 30_000 }), { ok: false, why: "connection refused" });
  t.deepEqual(await probe(port, { timeout: 30_000 }), { ok: false, why: "connection refused" });
});

test("the request has its path, the Host header with its port, asks to close, and is one", async (t) => {
  for (const [address, host] of [["127.0.0.1", "127.0.0.1"], ["::1", "[::1]"]] as const) {
    let heard = "";
    await using server = await serve((socket) => void socket.on("data", (bytes) => {
      heard += bytes.toString();
      socket.end("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n\r\n");
    }), address);
    t.deepEqual(await probe(server.port, { address: parseIp(address), path: "/healthz?deep=1" }), { ok: true, why: "HTTP 302" });
    t.is(heard, `GET /healthz?deep=1 HTTP/1.1\r\nHost: ${host}:${server.port}\r\nUser-Agent: hawser-health\r\nAccept: */*\r\nConnection: close\r\n\r\n`);
  }
});

const answers: readonly (readonly [title: string, answer: (socket: Socket) => void, verdict: Verdict])[] = [
  ["an answer of 503", http("HTTP/1.1 503 No\r\n\r\n"), { ok: false, why: "HTTP 503" }],
  ["an answer in another protocol", (socket) => socket.end("220 mail.example ESMTP\r\n"), { ok: false, why: "answers, but not in HTTP" }],
  ["a connection that is closed without a word", (socket) => socket.end(), { ok: false, why: "closed before it answered" }],
  ["a connection that is reset", (socket) => void socket.once("data", () => socket.resetAndDestroy()), { ok: false, why: "connection reset" }],
  ["a status that stops in its middle", http("HTTP/1.1 2"), { ok: false, why: "closed before it answered" }],
  ["a server that takes the request and says nothing", () => {}, { ok: false, why: "connected, but no answer in 1000 ms" }],
  ["a status without the end of its body", (socket) => void socket.once("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")), { ok: true, why: "HTTP 200" }],
];

for (const [title, answer, verdict] of answers) {
  test(`${title}: ${verdict.why}`, async (t) => {
    await using server = await serve(answer);
    t.deepEqual(await probe(server.port), verdict);
  });
}

test("of a body without end 64 KiB are read and no more", async (t) => {
  const { promise: gone, resolve } = Promise.withResolvers<number>();
  await using server = await serve((socket) => {
    let taken = 0;
    socket.on("close", () => resolve(taken));
    const pour = (): void => { if (!socket.destroyed) socket.write("x".repeat(16_384), (error) => { if (!error) { taken += 16_384; setImmediate(pour); } }); };
    socket.once("data", () => { socket.write("HTTP/1.1 200 OK\r\n\r\n"); pour(); });
  });
  t.deepEqual(await probe(server.port, { timeout: 30_000 }), { ok: true, why: "HTTP 200" });
  // What both sockets hold without anybody's reading (net.ipv4.tcp_rmem, tcp_wmem) is more than the probe reads.
  t.true(await gone < 16 * 1024 * 1024);
});

test("a whole answer is read to its end: the server closes first, and no write of its fails", async (t) => {
  const { promise: ended, resolve } = Promise.withResolvers<Error | undefined>();
  await using server = await serve((socket) => {
    socket.on("error", resolve).on("end", () => resolve(undefined));
    socket.once("data", () => { socket.write("HTTP/1.1 200 OK\r\n\r\n"); setTimeout(() => socket.end("x".repeat(5000)), 50); });
  });
  t.deepEqual(await probe(server.port), { ok: true, why: "HTTP 200" });
  t.is(await ended, undefined);
});

/** A process that listens and never accepts: connections wait in its backlog, and then none is answered any more. */
async function blackHole(): Promise<Listening> {
  const code = `const server = require("node:net").createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
    require("node:fs").writeSync(1, String(server.address().port));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000);
  });`;
  const child = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  const [text] = await once(child.stdout, "data") as [Buffer];
  const port = Number(text.toString());
  const fillers: Socket[] = [];
  for (let full = false; !full;) {
    const socket = connect(port, "127.0.0.1").on("error", () => undefined);
    fillers.push(socket);
    full = await Promise.race([once(socket, "connect").then(() => false), new Promise<boolean>((resolve) => { setTimeout(resolve, 200, true); })]);
  }
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of fillers) socket.destroy();
      child.kill("SIGKILL");
      await once(child, "close");
    },
  };
}

test("who lets no connection in, because nobody takes them out of its full backlog, does not answer", async (t) => {
  await using hole = await blackHole();
  t.deepEqual(await probe(hole.port, { kind: "tcp" }), { ok: false, why: "no answer in 1000 ms" });
  t.deepEqual(await probe(hole.port), { ok: false, why: "no answer in 1000 ms" });
});

test("after it was stopped a probe says nothing more", async (t) => {
  await using server = await serve(http("HTTP/1.1 200 OK\r\n\r\n"));
  const ask = createAsk();
  const target: Asked = { key: 1, address: parseIp("127.0.0.1"), port: server.port, kind: "http", path: "/", interval: 1000, timeout: 300 };
  ask(target, () => t.fail("told after it was stopped")).stop();
  t.deepEqual(await probe(server.port), { ok: true, why: "HTTP 200" });
});

test("a hundred probes that read at once into one buffer read each its own answer", async (t) => {
  await using server = await serve((socket) => void socket.once("data", (request) => {
    const status = /\/(\d+)/.exec(request.toString())?.[1] ?? "500";
    for (const part of [`HTTP/1`, `.1 ${status} X\r`, `\n\r\nbody of ${status}`]) setImmediate(() => socket.write(part));
    setTimeout(() => socket.end(), 20);
  }));
  const verdicts = await Promise.all(Array.from({ length: 100 }, (_, at) => probe(server.port, { path: `/${200 + at}`, timeout: 5000 })));
  t.deepEqual(verdicts.map(({ why }) => why), Array.from({ length: 100 }, (_, at) => `HTTP ${200 + at}`));
});
