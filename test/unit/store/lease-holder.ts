// A child process that holds a lease until it is killed, saying so once its key is written.
import { systemClock } from "../../../src/std/clock.ts";
import { createLog } from "../../../src/std/log.ts";
import { openEtcd } from "../../../src/store/etcd.ts";

const [endpoint = "", prefix = "", key = ""] = process.argv.slice(2);
const store = openEtcd({ endpoints: [endpoint], prefix, ttl: 1, clock: systemClock, log: createLog((line) => process.stderr.write(`${line}\n`), () => 0) });
await store.write([{ key, value: String(process.pid), leased: true }, { key: `${key}-kept`, value: "1" }]);
process.stdout.write("held\n");
