// The table of frontends: where each lies is agreed between the agent that writes and the programs that look.
import anyTest from "ava";
import type { TestFn } from "ava";
import { formatIp, ipToBigInt, parseIp } from "../../../src/std/ip.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { ip, tcp, udp } from "../packets.ts";
import { client4, client6, openWorld } from "./world.ts";
import type { World } from "./world.ts";

const test = anyTest as TestFn<{ world: World }>;
const [tcpProtocol, udpProtocol] = [6, 17];
const addresses = 10_000;

test.serial.before(async (t) => {
  const world = (t.context.world = await openWorld());
  await world.backend(1, "172.16.1.1");
  await world.service(1, [1]);
});
test.serial.after.always(async (t) => { await t.context.world?.[Symbol.asyncDispose](); });

const address4 = (number: number): Ip => formatIp(ipToBigInt(parseIp("198.18.0.0")) + BigInt(number), 4);
const address6 = (number: number): Ip => formatIp(ipToBigInt(parseIp("2001:db8:5::")) + BigInt(number), 6);
/** The verdict on a client's first packet. */
const asked = async (world: World, address: Ip, port: number): Promise<string> => (await world.send(ip(address.includes(":") ? client6 : client4, address, tcp(5000, port, "S")))).verdict;
const some = Array.from({ length: 150 }, (_, i) => i * 66);

test.serial("10 000 services with an address of each family: each is found, and nothing beside them", async (t) => {
  const { world } = t.context;
  const all = Array.from({ length: addresses }, (_, i) => [address4(i), address6(i)]).flat();
  await world.frontends(all.flatMap((address, i) => [
    { address, port: 80, protocol: tcpProtocol, service: 1, number: i + 1, shared: false }, { address, port: 0, protocol: 0, service: 1, number: 0, shared: false },
  ]));
  for (const number of some) {
    for (const address of [address4(number), address6(number)]) {
      t.is(await asked(world, address, 80), "tx", address);
      t.is(await asked(world, address, 81), "answered SERVICE_PORT", address);
      t.is((await world.send(ip(address.includes(":") ? client6 : client4, address, udp(5000, 80)))).verdict, "answered SERVICE_PORT", "another protocol");
    }
    for (const address of [address4(addresses + number), address6(addresses + number)]) t.is(await asked(world, address, 80), "pass", address);
  }
});

test.serial("what is withdrawn is gone, and what others moved for is still there", async (t) => {
  const { world } = t.context;
  const gone = Array.from({ length: addresses / 2 }, (_, i) => 2 * i);
  await world.forgetFrontends(gone.flatMap((number) => [address4(number), address6(number)]).flatMap((address) => [{ address, port: 80, protocol: tcpProtocol }, { address, port: 0, protocol: 0 }]));
  for (const number of some) {
    for (const address of [address4(number), address6(number)]) {
      t.is(await asked(world, address, 80), number % 2 === 0 ? "pass" : "tx", address);
      t.is(await asked(world, address, 81), number % 2 === 0 ? "pass" : "answered SERVICE_PORT", address);
    }
  }
});

test.serial("one address may have thousands of ports, of both protocols", async (t) => {
  const { world } = t.context;
  const address = parseIp("203.0.113.99");
  await world.frontends([{ address, port: 0, protocol: 0, service: 1, number: 0, shared: false }, ...Array.from({ length: 5000 }, (_, i) => [tcpProtocol, udpProtocol].map((protocol) =>
    ({ address, port: 10_000 + i, protocol, service: 1, number: 1 + i, shared: false }))).flat()]);
  for (const number of some) {
    t.is(await asked(world, address, 10_000 + (number % 5000)), "tx");
    t.is((await world.send(ip(client4, address, udp(5000, 10_000 + (number % 5000))))).verdict, "tx");
  }
  t.is(await asked(world, address, 9999), "answered SERVICE_PORT");
});

test.serial("what the next agent finds in the kernel is what it was, and more fits than a full table would hold by chance", async (t) => {
  const { world } = t.context;
  await world.reopenFrontends();
  const added = Array.from({ length: 18_000 }, (_, i) => ({ address: address4(2 * addresses + i), port: 443, protocol: tcpProtocol, service: 1, number: 1, shared: false }));
  await world.frontends(added);
  for (const number of some) {
    t.is(await asked(world, address4(2 * addresses + number), 443), "tx");
    t.is(await asked(world, address4(number), 80), number % 2 === 0 ? "pass" : "tx");
    t.is(await asked(world, address6(number), 80), number % 2 === 0 ? "pass" : "tx");
  }
  const beyond = Array.from({ length: 40_000 }, (_, i) => ({ address: address4(4 * addresses + i), port: 443, protocol: tcpProtocol, service: 1, number: 1, shared: false }));
  await t.throwsAsync(world.frontends(beyond), { message: /no place is left for the service address/ });
  t.is(await asked(world, address4(1), 80), "tx", "who was there before still is");
});
