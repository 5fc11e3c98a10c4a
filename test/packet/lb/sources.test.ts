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
  test.serial(`lists of IPv${family}`, async (t) => {
    await using world = await openWeb(4);
    const random = generator(family);
    const whole = parseCidr(base);
    /** Few bits differ, so that prefixes lie within and beside one another. Of long lists none is wide, which would be nearly all of it. */
    const prefix = (size: number): Cidr => {
      const lengths = size > 20 ? narrow : [...wide, ...narrow];
      const value = firstOf(whole) + (BigInt(random(Math.max(200, 2 * size))) << (family === 4 ? 8n : 64n)) + BigInt(random(3) === 0 ? random(256) : 0);
      return networkOf(cidrOf(formatIp(value, family), lengths[random(lengths.length)] ?? 0));
    };
    // Of up to 32 lines XDP finds one without a call.
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

const bordering: readonly { readonly title: string; readonly allow?: readonly string[]; readonly deny?: readonly string[] }[] = [
  { title: "everybody", allow: ["::/0"] },
  { title: "nobody", deny: ["::/0"] },
  { title: "half of all", allow: ["8000::/1"] },
  { title: "either end of all", deny: ["::/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"] },
  { title: "a range across a border of 64 bits", deny: ["2001:db8:0:1:ffff:ffff:ffff:fffe/127", "2001:db8:0:2::/64", "2001:db8:0:3::/127"] },
  { title: "neighbours of which one may", allow: ["2001:db8:0:1:8000::/65"], deny: ["2001:db8:0:2::/64"] },
  { title: "within one another in both halves", allow: ["2001:db8::/32", "2001:db8:0:1:0:1::/96"], deny: ["2001:db8::/48", "2001:db8:1:1:0:1::/96", "2001:db8:0:1:0:1::/112", "2001:db8:2::1/128"] },
  { title: "single addresses beside networks", allow: ["2001:db8:0:1::1/128", "2001:db8:0:1::3/128", "2001:db8:0:2::/64", "2001:db8:0:4::/62"], deny: ["2001:db8:0:5::7/128"] },
  { title: "halves of networks beside one another", allow: Array.from({ length: 40 }, (_, i) => `2001:db8:0:${i.toString(16)}:${i % 2 === 0 ? "8000" : "0"}::/65`) },
  { title: "each second network, from an odd one", deny: Array.from({ length: 300 }, (_, i) => `2001:db8:0:${(2 * i + 1).toString(16)}::/64`) },
];

for (const { title, allow, deny = [] } of bordering) {
  test.serial(`IPv6: ${title}`, async (t) => {
    await using world = await openWeb(4);
    await world.service(2, [1, 2], { sources: { ...(allow === undefined ? {} : { allow }), deny } });
    const [those, denied] = [allow?.map((one) => parseCidr(one)), deny.map((one) => parseCidr(one))];
    const last = (1n << 128n) - 1n;
    const edges = [...(those ?? []), ...denied].flatMap((one) => [firstOf(one) - 1n, firstOf(one), lastOf(one), lastOf(one) + 1n, firstOf(one) - (1n << 64n), lastOf(one) + (1n << 64n)]);
    for (const edge of new Set([0n, last, 1n << 127n, ...edges])) {
      // Of none of these is there a packet: the unspecified address and groups.
      if (edge <= 0n || edge >= 0xffn << 120n) continue;
      const client = formatIp(edge, 6);
      const may = (those === undefined || those.some((one) => contains(one, client))) && !denied.some((one) => contains(one, client));
      t.is((await world.send(ip(client, web6, tcp(5000, 80, "S")))).verdict, may ? "tx" : "drop SERVICE_SOURCE", client);
    }
  });
}
