// What ava runs: every test file when named, `npm run test:unit` for the floor that needs no root.
export default {
  files: ["test/**/*.test.ts"],
  extensions: ["ts"],
  workerThreads: false,
  timeout: "60s",
  failWithoutAssertions: true,
};
