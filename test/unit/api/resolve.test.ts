// From what people type to the one thing meant.
import test from "ava";
import { resolveContainer, resolveEndpoint, resolveNetwork } from "../../../src/api/resolve.ts";
import { backNetwork, db, endpoints, networks, shopNetwork, unknown, web, webBack } from "./world.ts";

test("an endpoint is found by its id, its container's id, the beginning of either, a name, or network/name", (t) => {
  t.is(resolveEndpoint(endpoints, web.id), web);
  t.is(resolveEndpoint(endpoints, "4f0d"), webBack);
  t.is(resolveEndpoint(endpoints, "4F0D"), webBack);
  t.is(resolveEndpoint(endpoints, "7"), unknown);
  t.is(resolveEndpoint(endpoints, "c0ffff"), db);
  t.is(resolveEndpoint(endpoints, "db"), db);
  t.is(resolveEndpoint(endpoints, "back/web"), webBack);
});

test("what could be several is an error naming each", (t) => {
  t.throws(() => resolveEndpoint(endpoints, "4f0"), {
    code: "BAD_REQUEST", message: /"4f0" could be 2 endpoints: 4f0c11111111 \(shop\/web\), 4f0d22222222 \(back\/web\)/,
  });
  t.throws(() => resolveEndpoint(endpoints, "web"), { code: "BAD_REQUEST", message: /shop\/web.*back\/web/ });
});

test("what does not exist is an error with the nearest name, or where to look", (t) => {
  t.throws(() => resolveEndpoint(endpoints, "wob"), { code: "NOT_FOUND", message: /did you mean "web"/ });
  t.throws(() => resolveEndpoint(endpoints, "something-else"), { code: "NOT_FOUND", message: /hawser endpoint list/ });
  t.throws(() => resolveEndpoint(endpoints, ""), { code: "NOT_FOUND" });
  t.throws(() => resolveNetwork(networks, "shup"), { code: "NOT_FOUND", message: /did you mean "shop"/ });
});

test("a name is never ambiguous with the beginning of an id", (t) => {
  const named = { ...shopNetwork, name: "a2" };
  t.is(resolveNetwork([named, backNetwork], "a2"), named);
  t.is(resolveNetwork(networks, "a2"), backNetwork);
  t.throws(() => resolveNetwork(networks, "a"), { code: "BAD_REQUEST", message: /2 networks/ });
});

test("a container on two networks is one container", (t) => {
  t.deepEqual(resolveContainer(endpoints, "web"), [web, webBack]);
  t.deepEqual(resolveContainer(endpoints, "c0ffee"), [web, webBack]);
  t.throws(() => resolveContainer(endpoints, "c0ff"), { code: "BAD_REQUEST", message: /2 containers: c0ffee000000 \(web\), c0ffff000000 \(db\)/ });
});

test("an endpoint whose container is not known yet matches no container", (t) => {
  t.throws(() => resolveContainer([unknown], "7"), { code: "NOT_FOUND" });
});
