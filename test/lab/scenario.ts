// Ties one world to one test file: up before its tests, down after them, and nothing left behind.
import type { TestFn } from "ava";
import type { Host } from "./host.ts";
import { waitFor } from "./run.ts";
import { lab, type LabOptions, type World } from "./world.ts";

/** What stays as long as the agent's state does. */
const ours: ReadonlySet<string> = new Set(["hwhost", "hwnet", "hwtun"]);

export interface Scene {
  readonly world: World;
  /** The first host. */
  readonly host: Host;
}

/** Fails every test of the file when the world does not come up, and the file when something of it is left. */
export function scene(test: TestFn, options: LabOptions = {}): Scene {
  let world: World | undefined;
  test.serial.before(`a world of ${options.hosts ?? 1} Docker host(s) comes up`, async () => {
    world = await lab(options);
  });
  test.serial.afterEach.always("the test left no link of Hawser's", async () => {
    await Promise.all((world?.hosts ?? []).map(async (host) => {
      await host.clear();
      await waitFor(`${host.name} to have no endpoint's link`, async () => (await host.links()).every((name) => ours.has(name)));
    }));
  });
  test.serial.after.always("the world goes and leaves nothing behind", async () => {
    await world?.down();
  });
  const standing = (): World => {
    if (world === undefined) throw new Error("the world is not up");
    return world;
  };
  return {
    get world() {
      return standing();
    },
    get host() {
      const [first] = standing().hosts;
      if (first === undefined) throw new Error("this world has no host");
      return first;
    },
  };
}
