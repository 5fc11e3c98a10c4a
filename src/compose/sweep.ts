// `hawser sweep` without an agent: the remembered state says what stays.
import { existsSync } from "node:fs";
import type { Swept } from "../api/types.ts";
import type { Config } from "../config/schema.ts";
import { isCableDevice } from "../datapath/host.ts";
import { sweep } from "../datapath/sweep.ts";
import type { SweepReport } from "../datapath/types.ts";
import { stateOf } from "../engine/remember.ts";
import { createKernel, openNetlink } from "../kernel/index.ts";
import { desired } from "../network/plan.ts";
import type { Step } from "../network/types.ts";
import { systemClock } from "../std/clock.ts";
import { HawserError } from "../std/errors.ts";
import type { Log } from "../std/log.ts";
import { openEmbedded } from "../store/embedded.ts";
import { stateFile } from "./installation.ts";
import { lockFolder } from "./lock.ts";
import { kindOf } from "./node-kind.ts";

/**
 * @throws HawserError IN_USE when an agent runs, unless everything is to go and `force` says that it is meant; STORE when there is
 * no state, so that nothing says what lives (R24).
 */
export async function sweepAlone(config: Config, { all, force }: { readonly all: boolean; readonly force: boolean }, log: Log): Promise<{ readonly swept: readonly Swept[]; readonly kept?: string }> {
  using stack = new DisposableStack();
  try {
    stack.use(lockFolder(config.paths.run));
  } catch (error) {
    if (!(all && force) || !(error instanceof HawserError) || error.code !== "IN_USE") throw error;
  }
  const netlink = stack.use(await openNetlink());
  const cables = (await netlink.links()).map((link) => link.name).filter(isCableDevice);
  if (!all && cables.length > 0 && !existsSync(stateFile(config.paths.state))) {
    throw new HawserError("STORE", `there is no state in ${config.paths.state}, so nothing says which of ${cables.length} devices live; start the agent, which asks Docker, or sweep with --all`);
  }
  const { claimed, services } = all ? { claimed: [], services: false } : await remembered(config, log);
  const alone = kindOf(config) === "alone";
  // Services of a node among others may be theirs as well.
  const report = await sweep({ kernel: createKernel(), netlink, bpffs: config.paths.bpffs, claimed, all, alone, services: services || !alone });
  return { swept: sweptOf(report), ...(!alone && !all ? { kept: "what is known of other nodes stays, because only an agent hears who is gone; --all removes it as well" } : {}) };
}

async function remembered(config: Config, log: Log): Promise<{ readonly claimed: readonly Step[]; readonly services: boolean }> {
  const file = stateFile(config.paths.state);
  if (!existsSync(file)) return { claimed: [], services: true };
  const store = openEmbedded({ file, log, clock: systemClock });
  try {
    const state = stateOf(await store.load());
    return { claimed: desired(state), services: state.services.size > 0 };
  } finally {
    await store.close();
  }
}

export function sweptOf({ links, pins, routes, entries }: SweepReport): readonly Swept[] {
  return [
    ...links.map((name) => ({ kind: "link", name })),
    ...pins.map((name) => ({ kind: "pin", name })),
    ...routes.map((name) => ({ kind: "route", name })),
    ...Object.entries(entries).map(([map, count]) => ({ kind: "map entry", name: count > 0 ? `${map} (${count})` : map })),
  ];
}
