// What nodes find of their own containers when they probe them, as the others hear it.
import test from "ava";
import { Server } from "./server.ts";
import { freshPort, node, until } from "./world.ts";

test("what a node finds of its own backends is known to the others in one record, which goes with the node or when nobody is asked", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const [storeA, storeB] = [server.connect("a"), server.connect("b")];
  await using a = node({ name: "a", address: "127.0.1.1", port, store: storeA });
  await using b = node({ name: "b", address: "127.0.1.2", port, store: storeB });
  await Promise.all([a.start(), b.start()]);
  a.run("web");
  await until(() => b.seen().join() === "web");
  const heard = () => JSON.stringify([...b.last().health ?? []].map(([name, those]) => [name, [...those]]));
  a.health = new Map([["shop web:80", true], ["shop web:81", false]]);
  a.door.changed();
  await until(() => heard() === '[["a",[["shop web:80",true],["shop web:81",false]]]]');
  t.is(server.get("health/a"), '{"v":1,"node":"a","up":["shop web:80"],"down":["shop web:81"]}');
  t.deepEqual(a.last().health, new Map(), "nobody is told of himself");
  // A lease that ended and a store that is away: what was known holds, and is written again.
  storeA.expire();
  await until(() => server.get("health/a") !== undefined && heard().includes("web:81"));
  const asked = storeA.asked.length;
  storeB.cut();
  t.true(heard().includes("web:81"));
  a.health = new Map([["shop web:80", false]]);
  a.door.changed();
  await until(() => storeA.asked.length > asked);
  storeB.heal();
  await until(() => heard() === '[["a",[["shop web:80",false]]]]');
  const { endpoints } = b.last();
  a.health = new Map();
  a.door.changed();
  await until(() => heard() === "[]");
  t.is(b.last().endpoints, endpoints, "who is there has nothing to do with it");
  t.is(server.get("health/a"), undefined);
  t.deepEqual(storeA.asked.slice(asked).filter((one) => one.includes("health")), ["write health/a", "write health/a"]);
});
