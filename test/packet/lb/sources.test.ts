// Which clients a service lets in: what the programs find in lists by chance is what the lists say.
import test from "ava";
import { cidrOf, contains, firstOf, formatIp, lastOf, networkOf, parseCidr } from "../../../src/std/ip.ts";
import type { Cidr, Family } from "../../../src/std/ip.ts";
import { generator } from "../../unit/lb/random.ts";
import { ip, tcp } from "../packets.ts";
import { openWeb, web4, web6 } from "./world.ts";

const families = [
  { family: 4 as Family, service: 1, web: web4, base: "10.0.0.0/8", wide: [8, 12, 16, 17, 20], narrow: [24, 24, 24, 31, 32] },
  { family: 6 as Family, service: 2, web: web6, base: "2001:db8::/32", wide: [32, 40, 47, 48, 56], narrow: [63, 64, 64, 65, 100, 127, 128] },
];

for (const { family, service, web, base, wide, narrow } of families) {
  test(`lists of IPv${family}`, async (t) => {
    await using world = await openWeb(4);
    const random = generator(family);
    const whole = parseCidr(base);
    /** Few bits differ, so that prefixes lie within and beside one another. Of long lists none is wide, which would be nearly all of it. */
    const prefix = (size: number): Cidr => {
      const lengths = size > 20 ? narrow : [...wide, ...narrow];
      const value = firstOf(whole) + (BigInt(random(Math.max(200, 2 * size))) << (family === 4 ? 8n : 64n)) + BigInt(random(3) === 0 ? random(256) : 0);
      return networkOf(cidrOf(formatIp(value, family), lengths[random(lengths.length)] ?? 0));
    };
    // Trees of up to four lines for IPv4, and seven for IPv6: XDP walks three without a call.
    for (const size of [0, 1, 1, 2, 3, 8, 20, 60, 150, 1000, 9000]) {
      const list = (length: number): readonly Cidr[] => Array.from({ length }, () => prefix(size));
      const [allow, deny] = [random(2) === 0 ? undefined : list(size), list(size === 0 ? 1 : random(size + 1))];
      await world.service(service, [1, 2], { sources: { ...(allow === undefined ? {} : { allow }), deny } });
      const edges = [...(allow ?? []), ...deny].flatMap((one) => [firstOf(one) - 1n, firstOf(one), lastOf(one), lastOf(one) + 1n]);
      for (let i = 0; i < 40; i++) {
        const client = formatIp(edges[random(edges.length)] ?? 0n, family);
        const may = (allow === undefined || allow.some((one) => contains(one, client))) && !deny.some((one) => contains(one, client));
        const { verdict } = await world.send(ip(client, web, tcp(5000, 80, "S")));
        t.is(verdict, may ? "tx" : "drop SERVICE_SOURCE", `${client} of ${size}: allow ${allow?.slice(0, 150).join(" ") ?? "all"} deny ${deny.slice(0, 150).join(" ")}`);
      }
    }
  });
}
