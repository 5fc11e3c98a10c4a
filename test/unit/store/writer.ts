// A child process that writes until it is killed, saying each number once it is acknowledged.
import { systemClock } from "../../../src/std/clock.ts";
import { createLog } from "../../../src/std/log.ts";
import { openEmbedded } from "../../../src/store/embedded.ts";

const [file = "", count = "0"] = process.argv.slice(2);
const log = createLog((line) => process.stderr.write(`${line}\n`), () => 0);
try {
  const store = openEmbedded({ file, log, clock: systemClock });
  const before = (await store.load()).get("numbers")?.size ?? 0;
  process.stdout.write(`${JSON.stringify({ opened: store.health(), before })}\n`);
  for (let n = before; n < before + Number(count); n++) {
    await store.write([{ table: "numbers", key: String(n), value: { n, filler: "x".repeat(500) } }]);
    process.stdout.write(`${n}\n`);
  }
  await store.close();
  process.stdout.write("closed\n");
} catch (error) {
  process.stdout.write(`${JSON.stringify({ code: (error as { code?: unknown }).code, message: (error as Error).message })}\n`);
  process.exitCode = 1;
}
