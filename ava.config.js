// What ava runs: every test file when named, `npm run test:unit` for the floor that needs no root.
import { statSync } from "node:fs";

export default {
  files: ["test/**/*.test.ts"],
  extensions: ["ts"],
  workerThreads: false,
  // Only a test that hangs waits for it.
  timeout: "600s",
  // Large files first, which on the whole take longest: what is started last keeps one core waiting for as long as it takes.
  sortTestFiles: (one, other) => statSync(other).size - statSync(one).size,
  failWithoutAssertions: true,
};
