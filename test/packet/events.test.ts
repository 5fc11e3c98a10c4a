// What the ring is told of drops, how much of it one container may take, and that it is read though few records wake their reader.
import test from "ava";
import { a, b, openBench } from "./bench.ts";
import { ip, udp } from "./packets.ts";

test.serial("a container that floods with what is dropped does not keep others from being heard, and all is counted (R34)", async (t) => {
  await using bench = await openBench();
  const martian = ip("10.44.0.2", "127.0.0.1", udp(5000, 53));
  await bench.flood(a, martian, { at: 14 + 20, first: 1, count: 1000 });
  const lost = await bench.lost();
  t.true(lost >= 1000 - 2 * 256 && lost < 1000, `${lost} of 1000 untold, though the ring has room for all`);
  await bench.fromContainer(b, ip("10.44.0.3", "127.0.0.1", udp(5000, 53)));
  t.is(await bench.lost(), lost, "another container's drop is told");
});

test.serial("what is told soon after another record does not wake the reader, and is read all the same", async (t) => {
  await using bench = await openBench();
  for (let port = 5000; port < 5020; port++) {
    await bench.fromContainer(a, ip("10.44.0.2", "127.0.0.1", udp(port, 53)));
    t.deepEqual((await bench.events(1)).map(({ sport }) => sport), [port]);
  }
});
