// The README's first command, inside a host of its own.
//
//   quick/a: quickstart-client ── quickstart-web (quickstart)
import test from "ava";
import { run } from "../lab/run.ts";
import { labIds, root } from "../lab/names.ts";
import { leaks } from "../lab/remove.ts";

test.serial("quickstart --lab shows two containers that talk, and leaves nothing on the machine", async (t) => {
  const before = labIds();
  const { code, stdout, stderr } = await run(["scripts/quickstart", "--lab"], { timeoutMs: 170_000, mayFail: true });
  t.is(code, 0, stdout + stderr);
  t.regex(stdout, /2 packets transmitted, 2 packets received/);
  t.is([...stdout.matchAll(/hello from a container/g)].length, 4, "by name, by 127.0.0.1, by the host's address, and from beyond the router");
  t.regex(stdout, /quickstart-web +quickstart +80\/tcp +0\.0\.0\.0:8080/);
  t.deepEqual(labIds().filter((id) => id.startsWith("q") && !before.includes(id)), []);
});

test.serial("quickstart twice on one host does the same, and --remove takes everything away", async (t) => {
  const inside = async (...args: readonly string[]): Promise<string> => {
    const directory = "/var/tmp/hwtquick/a";
    const { stdout } = await run(["scripts/lab", "exec", "a", "env", `HAWSER_CONFIG=${directory}/hawser.yaml`, `HAWSER_LOG=${directory}/agent.log`, ...args],
      { env: { HAWSER_LAB: "quick" }, timeoutMs: 120_000 });
    return stdout;
  };
  try {
    await run(["scripts/quickstart", "--lab", "--keep"], { timeoutMs: 120_000 });
    t.regex(await inside(`${root}/scripts/quickstart`), /the agent runs/);
    await inside(`${root}/scripts/quickstart`, "--remove");
    t.notRegex(await inside("ip", "-o", "link", "show"), /: hw/);
    t.is(await inside("docker", "-H", "unix:///run/docker.sock", "ps", "-aq"), "");
  } finally {
    await run(["scripts/lab", "down", "quick"]);
  }
  t.deepEqual(leaks("quick"), []);
});

test.serial("quickstart refuses --lab with --remove, which would take away what stands on this machine", async (t) => {
  const { code, stdout, stderr } = await run(["scripts/quickstart", "--lab", "--remove"], { timeoutMs: 10_000, mayFail: true });
  t.is(code, 1);
  t.regex(stderr, /use one of the two/);
  t.is(stdout, "");
});
