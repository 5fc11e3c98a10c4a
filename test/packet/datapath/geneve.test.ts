// Geneve as the overlay's tunnel, against a Geneve device of the kernel's as the other node; where the kernel has none, what is said then.
//
//   ns a: eth0 10.44.0.2 ── hwaaaaaaaaaaa ── hwtun ── wan0 192.0.2.10 ══ lan0 192.0.2.1 in ns lan ── gn (key 300) 10.44.1.2, fd44:0:0:1::2
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import type { HawserError } from "../../../src/std/errors.ts";
import { inOwnHost } from "./namespace.ts";
import { cluster, dropped, identity, local, pings, setUp } from "./nodes.ts";
import { ping } from "./plug.ts";

const routing = { mode: "overlay", encapsulation: "geneve", port: 6081, probePort: 8473, direct: true } as const;

/** Whether this kernel has the device, asked of the kernel itself, in the case's own namespace. */
function hasGeneve(): boolean {
  try {
    execFileSync("ip", ["link", "add", "try", "type", "geneve", "external"], { stdio: "ignore" });
    execFileSync("ip", ["link", "delete", "try"]);
    return true;
  } catch {
    return false;
  }
}

await inOwnHost(import.meta.url, {
  "containers of two nodes talk over Geneve, and a stranger's packets are dropped (R42); a kernel without it is told of": async (world) => {
    if (!hasGeneve()) {
      await assert.rejects(world.open({ routing }), (error: HawserError) => {
        assert.equal(error.code, "UNSUPPORTED");
        assert.match(error.message, /geneve device of the overlay cannot be made: .*routing\.encapsulation/);
        return true;
      });
      assert.ok(!world.ip("-o link show").includes("hwtun"));
      return;
    }
    await using datapath = await world.open({ routing });
    await setUp(world, datapath, [...local, cluster()]);
    assert.match(world.ip("-d link show hwtun"), /geneve external .*dstport 6081/);
    const otherNode = (): void => {
      for (const words of [
        `link add gn type geneve id ${identity} remote 192.0.2.10 dstport 6081`, "link set gn address 02:48:57:00:00:01", "link set gn up mtu 1430",
        "address add 10.44.1.2/16 dev gn", "-6 address add fd44:0:0:1::2/48 dev gn nodad",
        "neighbour replace 10.44.0.2 lladdr 02:00:00:00:00:99 dev gn", "-6 neighbour replace fd44::2 lladdr 02:00:00:00:00:99 dev gn",
      ]) world.ip(`-n lan ${words}`);
    };
    otherNode();
    for (const target of ["10.44.1.2", "fd44:0:0:1::2"]) ping("a", target);
    for (const target of ["10.44.0.2", "fd44::2"]) ping("lan", target);
    assert.equal(dropped(datapath, "unknown-peer") + dropped(datapath, "peer-address") + dropped(datapath, "peer-identity"), 0n);
    for (const words of ["link delete gn", "address delete 192.0.2.1/24 dev lan0", "address add 192.0.2.66/24 dev lan0"]) world.ip(`-n lan ${words}`);
    otherNode();
    assert.ok(!pings("lan", "10.44.0.2"));
    assert.ok(dropped(datapath, "unknown-peer") >= 1n);
  },
});
