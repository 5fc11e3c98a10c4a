// `hawser service`: what it prints, what it sends, how it ends.
import { mkdir, mkdtemp, rm, rmdir, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { HawserError } from "../../../src/std/errors.ts";
import { recorded, services, serviceText } from "../api/world.ts";
import { hawser, serve } from "./harness.ts";

async function fileWith(t: { teardown(work: () => Promise<void>): void }, text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "hawser-service-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, "web.yaml"), text);
  return join(folder, "web.yaml");
}

test("apply sends every file whole, standard input too, and says what is in force", async (t) => {
  const { commands, appliedServices } = recorded({ applyService: () => Promise.resolve({ applied: ["web", "dns"], warnings: [] }) });
  const socket = await serve(t, {}, commands);
  const file = await fileWith(t, serviceText);
  t.deepEqual(await hawser(socket, ["service", "apply", file, "-"], { readInput: () => Promise.resolve("service: dns\n") }), { code: 0, out: "applied web, dns\n", err: "" });
  t.deepEqual(appliedServices, [{ documents: [{ file, text: serviceText }, { file: "stdin", text: "service: dns\n" }] }]);
  t.deepEqual(JSON.parse((await hawser(socket, ["service", "apply", file, "-o", "json"])).out), { applied: ["web", "dns"], warnings: [] });
});

test("a folder and a link into nothing among the files of a folder are named, and nothing is sent", async (t) => {
  const { commands, appliedServices } = recorded({});
  const socket = await serve(t, {}, commands);
  const at = (await fileWith(t, serviceText)).slice(0, -"/web.yaml".length);
  await mkdir(join(at, "x.yaml"));
  t.is((await hawser(socket, ["service", "apply", at])).err, `hawser: ${at}/x.yaml is a folder; name it by itself, and the files in it are taken [BAD_REQUEST]\n`);
  await rmdir(join(at, "x.yaml"));
  await symlink(join(at, "nowhere"), join(at, "x.yaml"));
  t.is((await hawser(socket, ["service", "apply", at])).err, `hawser: ${at}/x.yaml: no such file or folder [NOT_FOUND]\n`);
  t.deepEqual(appliedServices, []);
});

test("apply warns of what serves nobody, with the file as it was written", async (t) => {
  const { commands } = recorded({ applyService: ({ documents }) => Promise.resolve({ applied: ["web"], warnings: [`${documents[0]?.file}:3:12: no network is called "shopp"; did you mean "shop"?`] }) });
  const socket = await serve(t, {}, commands);
  const file = await fileWith(t, serviceText);
  const written = `${file.slice(0, file.lastIndexOf("/"))}/./web.yaml`;
  const warning = `${written}:3:12: no network is called "shopp"; did you mean "shop"?`;
  t.deepEqual(await hawser(socket, ["service", "apply", written]), { code: 0, out: "applied web\n", err: `hawser: warning: ${warning}\n` });
  t.deepEqual(JSON.parse((await hawser(socket, ["service", "apply", written, "-o", "json"])).out), { applied: ["web"], warnings: [warning] });
});

test("a refused service shows every problem with the file as it was written", async (t) => {
  const file = await fileWith(t, "service: web\n");
  const { commands } = recorded({ applyService: ({ documents }) => Promise.reject(new HawserError("BAD_SERVICE", `${documents[0]?.file}:1:1: a service needs "frontends"\n${documents[0]?.file}:1:1: a service needs "backends"`)) });
  const written = `${file.slice(0, file.lastIndexOf("/"))}/./web.yaml`;
  const ran = await hawser(await serve(t, {}, commands), ["service", "apply", written]);
  t.deepEqual(ran, { code: 1, out: "", err: `hawser: ${written}:1:1: a service needs "frontends"\n${written}:1:1: a service needs "backends" [BAD_SERVICE]\n` });
});

test("list: one line each, and what is not in force on stderr", async (t) => {
  const socket = await serve(t);
  const ran = await hawser(socket, ["service", "list"]);
  t.is(ran.out, [
    "NAME       STATE      FRONTENDS                                    BACKENDS                       MODE   FLOWS   SOURCE                                     NODES",
    "web        enforced   203.0.113.10:80/tcp, [2001:db8::10]:80/tcp   1 active, 1 draining, 1 down   auto      12   apply /srv/web.yaml                        edge-1",
    "dns.yaml   rejected   -                                            none                           auto       -   directory /etc/hawser/service.d/dns.yaml   edge-1", "",
  ].join("\n"));
  t.is(ran.err, `hawser: service "dns.yaml": ${services[1]?.error}\n`);
});

test("list as JSON has the contract's fields", async (t) => {
  const [web, dns] = JSON.parse((await hawser(await serve(t), ["service", "list", "-o", "json"])).out) as readonly [Record<string, unknown>, Record<string, unknown>];
  t.deepEqual(web["frontends"], [{ address: "203.0.113.10", port: 80, protocol: "tcp", holder: "edge-1" }, { address: "2001:db8::10", port: 80, protocol: "tcp", holder: "edge-2" }]);
  t.like((web["backends"] as readonly object[])[2], { address: "192.0.2.7", port: 8080, weight: 2, node: "", state: "down" });
  t.like(web, { name: "web", mode: "auto", algorithm: "maglev", flows: 12 });
  t.false("error" in web);
  t.is(dns["error"], services[1]?.error);
});

test("get shows backends, then the text; an unknown name tells the known ones", async (t) => {
  const socket = await serve(t);
  t.is((await hawser(socket, ["service", "get", "web"])).out, [
    "name        web", "frontends   203.0.113.10:80/tcp, [2001:db8::10]:80/tcp", "held by     203.0.113.10: edge-1, 2001:db8::10: edge-2", "mode        auto", "algorithm   maglev", "flows       12",
    "source      apply /srv/web.yaml", "nodes       edge-1", "revision    2", "state       enforced", "",
    "BACKEND                ADDRESS          NODE     WEIGHT   STATE",
    "edge-1/shop/web:8080   10.44.0.2:8080   edge-1        1   active",
    "edge-2/shop/web:8080   10.44.1.7:8080   edge-2        1   draining",
    "192.0.2.7:8080         192.0.2.7:8080   -             2   down",
    "edge-1/shop/web:8080   [fd44::2]:8080   edge-1        1   active", "", serviceText,
  ].join("\n"));
  t.like(JSON.parse((await hawser(socket, ["service", "get", "web", "-o", "json"])).out), { name: "web", text: serviceText });
  t.deepEqual(await hawser(socket, ["service", "get", "wed"]), { code: 1, out: "", err: 'hawser: no service is called "wed"; there are web [NOT_FOUND]\n' });
});

test("delete asks for the one that is named, and names are completed", async (t) => {
  const { commands, deletedServices } = recorded();
  const socket = await serve(t, {}, commands);
  t.deepEqual(await hawser(socket, ["service", "delete", "web"]), { code: 0, out: "", err: 'hawser: service "web" is deleted\n' });
  t.deepEqual(deletedServices, ["web"]);
  t.is((await hawser(socket, ["__complete", "--", "service", "get", "w"])).out, "web\tapply /srv/web.yaml\n");
});
