// Runs in the virtual machine only: a virtio device by every way that XDP has to it, and one whose driver refuses.
import assert from "node:assert/strict";
import { inOwnHost } from "../../packet/datapath/namespace.ts";
import { cards, counted, onCards } from "./cards.ts";

await inOwnHost(import.meta.url, {
  "with one queue, which all CPUs then share, it is before the driver as well": onCards({ uplink: cards.narrow }, async ({ datapath, xdp, carries }) => {
    assert.equal((await xdp("wan0"))?.mode, "native");
    const before = counted("wan0", "xdp_tx"), frames = await carries(16);
    assert.equal(counted("wan0", "xdp_tx") - before, frames);
    assert.deepEqual(datapath.inspect().problems, []);
  }),

  "generic: the same packets, behind the driver": onCards({ uplink: cards.wide, changes: { acceleration: "generic" } }, async ({ xdp, carries }) => {
    assert.equal((await xdp("wan0"))?.mode, "generic");
    const before = counted("wan0", "xdp_tx");
    assert.ok((await carries(16)) > 0);
    assert.equal(counted("wan0", "xdp_tx"), before);
  }),

  "a device whose hypervisor joins what it receives takes none: the same packets are balanced at the ingress, and status and log say why": onCards(
    { uplink: cards.joining },
    async ({ world, datapath, xdp, carries }) => {
      assert.equal(await xdp("wan0"), null);
      assert.ok((await carries(16)) > 0);
      const { problems, remarks } = datapath.inspect();
      assert.deepEqual(problems, []);
      assert.match(remarks.join("; "), /^uplink wan0: its driver takes no XDP program as it is \(.*ENOTSUP/);
      assert.equal(world.lines.find(({ message }) => message === "no XDP at an uplink")?.["why"], remarks[0]);
    },
  ),
});
