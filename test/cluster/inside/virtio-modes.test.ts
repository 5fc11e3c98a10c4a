// Runs in the virtual machine only: a virtio device by every way that XDP has to it, and one whose driver refuses.
import assert from "node:assert/strict";
import { inOwnHost } from "../../packet/datapath/namespace.ts";
import { cards, counted, onCards } from "./cards.ts";

const refusal = /^uplink wan0: its driver takes no XDP program as it is \(.*EOPNOTSUPP/;

await inOwnHost(import.meta.url, {
  "with one queue, which all CPUs then share, it is before the driver as well": onCards({ uplink: cards.narrow }, async ({ datapath, xdp, carries }) => {
    assert.equal((await xdp("wan0"))?.mode, "native");
    assert.equal(counted("wan0", "xdp_tx"), await carries(32));
    assert.deepEqual(datapath.inspect().problems, []);
  }),

  "generic: the same packets, behind the driver": onCards({ uplink: cards.wide, changes: { acceleration: "generic" } }, async ({ xdp, carries }) => {
    assert.equal((await xdp("wan0"))?.mode, "generic");
    assert.ok((await carries(32)) > 0);
    assert.equal(counted("wan0", "xdp_tx"), 0);
  }),

  "a device whose hypervisor joins what it receives takes none: the same packets are balanced at the ingress, and status and log say why": onCards(
    { uplink: cards.joining },
    async ({ world, datapath, xdp, carries }) => {
      assert.equal(await xdp("wan0"), null);
      assert.ok((await carries(32)) > 0);
      const { problems, remarks } = datapath.inspect();
      assert.deepEqual(problems, []);
      assert.match(remarks.join("; "), refusal);
      assert.match(JSON.stringify(world.lines.find(({ message }) => message === "no XDP at an uplink")), /EOPNOTSUPP/);
    },
  ),

  "told to be before the driver of such a device, that it cannot is a problem": onCards({ uplink: cards.joining, changes: { acceleration: "native" } }, async ({ datapath, xdp }) => {
    assert.equal(await xdp("wan0"), null);
    assert.match(datapath.inspect().problems.join("; "), refusal);
  }),
});
