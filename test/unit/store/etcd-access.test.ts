// Who may speak with a real etcd: certificates on both sides, users and their passwords, and what errors say when they are wrong.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import type { ExecutionContext } from "ava";
import { systemClock } from "../../../src/std/clock.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { createLog } from "../../../src/std/log.ts";
import { openEtcd } from "../../../src/store/etcd.ts";
import type { EtcdOptions } from "../../../src/store/etcd.ts";
import { opened, served } from "./etcd-fixture.ts";
import { loopback } from "./etcd-server.ts";
import { follow } from "./shared-compliance.ts";

function scratch(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), "hawser-access-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

interface Papers {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** An authority of the folder's name, and a certificate of it for these subjects (`IP:127.0.0.1`). */
function papers(folder: string, name: string, subjects: readonly string[]): Papers {
  const file = (end: string): string => join(folder, `${name}-${end}`);
  const openssl = (...words: readonly string[]): void => void execFileSync("openssl", words, { stdio: "ignore" });
  const request = (subject: string, key: string): readonly string[] =>
    ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", `/CN=${subject}`, "-keyout", file(key)];
  openssl(...request(`${name} authority`, "ca.key"), "-x509", "-days", "2", "-out", file("ca.pem"));
  openssl(...request(name, "key.pem"), "-out", file("csr.pem"));
  writeFileSync(file("ext"), subjects.length === 0 ? "extendedKeyUsage=clientAuth\n" : `subjectAltName=${subjects.join(",")}\n`);
  openssl("x509", "-req", "-in", file("csr.pem"), "-CA", file("ca.pem"), "-CAkey", file("ca.key"), "-CAcreateserial", "-days", "2", "-extfile", file("ext"), "-out", file("cert.pem"));
  return { ca: file("ca.pem"), cert: file("cert.pem"), key: file("key.pem") };
}

async function saidOf(t: ExecutionContext, asked: Promise<unknown>): Promise<string> {
  const error = await t.throwsAsync(asked, { instanceOf: HawserError });
  t.is(error.code, "STORE");
  return error.message;
}

test.serial("over TLS each side shows a certificate, and a wrong one is refused with a word on store.tls", async (t) => {
  const folder = scratch(t);
  const host = loopback();
  const [good, other] = [papers(folder, "good", [`IP:${host}`]), papers(folder, "other", ["IP:192.0.2.1"])];
  const server = await served(t, { tls: good, host });
  const warnings: Error[] = [];
  const warned = (warning: Error): void => void warnings.push(warning);
  process.on("warning", warned);
  t.teardown(() => process.off("warning", warned));

  const store = opened(t, [server.endpoint], { tls: good });
  await store.write([{ key: "a", value: "1", leased: true }]);
  const watched = follow(store, "");
  await watched.next();
  t.deepEqual([...watched.view], [["a", "1"]]);
  await watched.stop();
  t.deepEqual(warnings, []);

  const stranger = opened(t, [server.endpoint], { tls: { ...good, ca: other.ca } });
  t.regex(await saidOf(t, stranger.list("")), new RegExp(`^etcd at ${server.endpoint} cannot be read: .*certificate.*; check store\\.tls`));
  const unsigned = opened(t, [server.endpoint], { tls: { ...other, ca: good.ca } });
  t.regex(await saidOf(t, unsigned.list("")), new RegExp(`^etcd at ${server.endpoint} cannot be read: .*certificate.*; check store\\.tls`));
  const bare = opened(t, [server.endpoint], { tls: { ca: good.ca, cert: null, key: null } });
  t.regex(await saidOf(t, bare.list("")), new RegExp(`^etcd at ${server.endpoint} cannot be read: .*certificate.*; check store\\.tls`));
});

test.serial("a server whose certificate names another address is refused", async (t) => {
  const folder = scratch(t);
  const wrong = papers(folder, "wrong", ["IP:192.0.2.1", "DNS:etcd"]);
  const server = await served(t, { tls: wrong, unverified: true });
  t.regex(await saidOf(t, opened(t, [server.endpoint], { tls: wrong }).list("")), /IP: 127\.\S+ is not in the cert's list.*; check store\.tls and that the server's certificate names this address/);
});

test.serial("without an authority of its own, whom the system trusts is trusted", async (t) => {
  const folder = scratch(t);
  const host = loopback();
  const good = papers(folder, "good", [`IP:${host}`]);
  const server = await served(t, { tls: good, host });
  const source = new URL("../../../src/", import.meta.url).href;
  const program = `
    import { openEtcd } from "${source}store/etcd.ts";
    import { systemClock } from "${source}std/clock.ts";
    import { createLog } from "${source}std/log.ts";
    await using store = openEtcd({ endpoints: ["${server.endpoint}"], prefix: "/hawser/", tls: { ca: null, cert: "${good.cert}", key: "${good.key}" }, clock: systemClock, log: createLog(() => {}, () => 0) });
    console.log(await store.claim("a", "1").catch((error) => error.message));
  `;
  const empty = scratch(t);
  const asked = (trusted: string): string => execFileSync(process.execPath, ["--disable-warning=ExperimentalWarning", "--input-type=module-typescript", "--eval", program], {
    encoding: "utf8", env: { ...process.env, SSL_CERT_FILE: trusted, SSL_CERT_DIR: empty },
  });
  t.is(asked(good.ca), "1\n");
  t.regex(asked(papers(folder, "other", []).ca), /certificate/);
});

test.serial("a user signs in, again when the server has forgotten it, and may do what its role may", async (t) => {
  const server = await served(t);
  const passwordFile = join(scratch(t), "password");
  writeFileSync(passwordFile, "right\n");
  const store = opened(t, [server.endpoint], { user: { name: "hawser", passwordFile } });
  // Authentication may be turned on later.
  await store.write([{ key: "before", value: "1" }]);
  const anybody = opened(t, [server.endpoint]);
  await anybody.list("");

  const root = "--user=root:secret";
  await server.ctl("user", "add", "root:secret");
  await server.ctl("user", "grant-role", "root", "root");
  await server.ctl("user", "add", "hawser:right");
  await server.ctl("role", "add", "hawser");
  await server.ctl("role", "grant-permission", "hawser", "--prefix=true", "readwrite", "/hawser/");
  await server.ctl("user", "grant-role", "hawser", "hawser");
  await server.ctl("auth", "enable");

  await store.write([{ key: "a", value: "1", leased: true }]);
  t.is(await store.claim("b", "1"), "1");
  const watched = follow(store, "");
  await watched.next();
  t.is(watched.view.size, 3);

  t.regex(await saidOf(t, anybody.list("")), new RegExp(`^etcd at ${server.endpoint} cannot be read: user name is empty; check store\\.user and store\\.passwordFile`));
  const outside = opened(t, [server.endpoint], { user: { name: "hawser", passwordFile }, prefix: "/other/" });
  t.regex(await saidOf(t, outside.list("")), /permission denied; check store\.user and store\.passwordFile, and that the user's role may read and write \/other\//);
  writeFileSync(passwordFile, "wrong");
  const imposter = opened(t, [server.endpoint], { user: { name: "hawser", passwordFile } });
  t.regex(await saidOf(t, imposter.write([{ key: "c", value: "1" }])), /cannot be written: authentication failed, invalid user ID or password; check store\.user/);
  const deniedWatch = follow(imposter, "");
  t.is((await deniedWatch.next()).kind, "lost");

  // A password that changes is read anew; and a server that restarts knows no token.
  writeFileSync(passwordFile, "right");
  t.is((await deniedWatch.next()).kind, "snapshot");
  await deniedWatch.stop();
  await server.kill();
  await server.start();
  await store.write([{ key: "d", value: "1" }]);
  while (!watched.view.has("d")) await watched.next();
  t.is(store.health().state, "ok");
  await watched.stop();
  t.true((await server.ctl(root, "get", "/hawser/d")).includes("/hawser/d"));
});

test("a file that is named and not there is said at once, with its key", (t) => {
  const open = (options: Partial<EtcdOptions>) => () =>
    openEtcd({ endpoints: ["https://127.0.0.1:2379"], prefix: "/hawser/", clock: systemClock, log: createLog(() => undefined, () => 0), ...options });
  const none = { ca: null, cert: null, key: null };
  const wrong: readonly (readonly [Partial<EtcdOptions>, string])[] = [
    [{ tls: { ...none, ca: "/nowhere/ca" } }, "/nowhere/ca, which store.tls.ca names, cannot be read"],
    [{ tls: { ...none, cert: "/nowhere/cert", key: "/dev/null" } }, "/nowhere/cert, which store.tls.cert names, cannot be read"],
    [{ tls: { ...none, cert: "/dev/null", key: "/nowhere/key" } }, "/nowhere/key, which store.tls.key names, cannot be read"],
    [{ endpoints: ["http://127.0.0.1:2379"], user: { name: "hawser", passwordFile: "/nowhere/pass" } }, "/nowhere/pass, which store.passwordFile names, cannot be read"],
  ];
  for (const [options, said] of wrong) {
    const error = t.throws(open(options), { instanceOf: HawserError });
    t.is(error.code, "STORE");
    t.true(error.message.startsWith(said), error.message);
  }
});
