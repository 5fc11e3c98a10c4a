// The stores that nodes share: the common rules, for a node alone and for etcd.
import { rmSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { systemClock } from "../../../src/std/clock.ts";
import { createLog } from "../../../src/std/log.ts";
import { openAlone } from "../../../src/store/alone.ts";
import { openEmbedded } from "../../../src/store/embedded.ts";
import { openEtcd } from "../../../src/store/etcd.ts";
import { scratchFolder } from "../../scratch.ts";
import { patient } from "./etcd-fixture.ts";
import { EtcdServer } from "./etcd-server.ts";
import { sharedComplies } from "./shared-compliance.ts";

const log = createLog(() => undefined, () => 0);
const server = new EtcdServer();
let installations = 0;

test.before(() => server.start());
test.after.always(() => server.remove());

sharedComplies(test, "alone", async () => {
  const folder = scratchFolder("store");
  const opened: (() => Promise<void>)[] = [];
  return {
    open: async () => {
      await opened.pop()?.();
      const store = openEmbedded({ file: join(folder, "hawser.db"), log, clock: systemClock });
      opened.push(() => store.close());
      return openAlone(store);
    },
    remove: async () => {
      await opened.pop()?.();
      rmSync(folder, { recursive: true });
    },
  };
});

sharedComplies(test, "etcd", async () => {
  // One server for all, as installations may share one.
  const prefix = `/hawser${installations++}/`;
  return {
    open: async () => openEtcd({ endpoints: [server.endpoint], prefix, ttl: 3, ...patient, clock: systemClock, log }),
    remove: async () => undefined,
  };
});
