// Runs in the virtual machine only: services' packets on a virtio device whose driver takes XDP.
import assert from "node:assert/strict";
import { inOwnHost } from "../../packet/datapath/namespace.ts";
import { cards, counted, onCards } from "./cards.ts";

await inOwnHost(import.meta.url, {
  "left to choose it is before the driver: whole packets go on in IPIP and Geneve, also by another card, and those for a container here are its own": onCards(
    { uplink: cards.wide, second: cards.narrow },
    async ({ datapath, xdp, carries }) => {
      for (const device of ["wan0", "wan1"]) assert.equal((await xdp(device))?.mode, "native", device);
      assert.deepEqual(datapath.inspect().programs.filter(({ mode }) => mode === "xdp").map(({ device, hook }) => `${device} ${hook}`).toSorted(), ["wan0 native", "wan1 native"]);
      assert.deepEqual(datapath.inspect().problems, []);
      const frames = await carries(16);
      assert.equal(counted("wan0", "xdp_tx") + counted("wan0", "xdp_redirects"), frames, "sent by XDP, each of them");
      assert.equal(counted("wan0", "xdp_redirects"), frames / 4, "by the other card");
      assert.equal(counted("wan0", "xdp_drops"), 0);
    },
  ),
});
