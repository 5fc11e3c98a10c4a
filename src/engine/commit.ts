// Performs steps in order; when one fails, undoes them in reverse and reports every error that happened.
import { HawserError, messageOf } from "../std/errors.ts";
import type { Doer, Doers, Step } from "../network/types.ts";
import { abortReason } from "./queue.ts";

/** Milliseconds: a step takes one or two, so this is a kernel that hangs. Dockerd's handlers give up after 5 s. */
const stepTime = 5000;
/** A first look at tens of thousands of containers elsewhere is many calls, with turns for others in between. */
const clusterTime = 60_000;

/** Undoes what was performed, newest first, as far as it goes. Returns what could not be undone. */
export type Undo = () => Promise<readonly Error[]>;

/** A step failed. Everything before it is undone, unless `leftovers` says otherwise. */
export class StepFailure extends HawserError {
  readonly step: Step | null;
  readonly leftovers: readonly Error[];
  /** Whether something of it may stand on the host: it could not be undone, or was left alone while it hung. */
  readonly unclean: boolean;

  constructor(step: Step | null, reason: HawserError, leftovers: readonly Error[]) {
    const tail = leftovers.length === 0 ? "" : `; undoing it left something behind: ${leftovers.map(messageOf).join("; ")}`;
    const cause = leftovers.length === 0 ? reason : new AggregateError([reason, ...leftovers], "a step and its undoing failed");
    super(reason.code, reason.message + tail, { cause });
    this.step = step;
    this.leftovers = leftovers;
    this.unclean = leftovers.length > 0 || (step !== null && reason.code === "DEADLINE");
  }
}

/**
 * Resolves once every step is done, with the way back.
 * @throws StepFailure with the first failing step; `step` is null when the signal aborted between two steps.
 */
export async function perform(steps: readonly Step[], doers: Doers, signal?: AbortSignal, time = stepTime): Promise<Undo> {
  const begun: Step[] = [];
  const undo = (): Promise<readonly Error[]> => undoAll(begun, doers, time);
  for (const step of steps) {
    if (signal?.aborted) throw new StepFailure(null, abortReason(signal), await undo());
    // Begun before it is done: a step that fails half-way is undone too, which undoers must bear.
    begun.push(step);
    try {
      await within(timeOf(step, time), describe(step), doerOf(doers, step).do(step));
    } catch (error) {
      throw new StepFailure(step, explain(step, error), await undo());
    }
  }
  if (signal?.aborted) throw new StepFailure(null, abortReason(signal), await undo());
  return undo;
}

async function undoAll(begun: Step[], doers: Doers, time: number): Promise<readonly Error[]> {
  const errors: Error[] = [];
  for (let step = begun.pop(); step !== undefined; step = begun.pop()) {
    try {
      await within(timeOf(step, time), `undoing ${describe(step)}`, doerOf(doers, step).undo(step));
    } catch (error) {
      errors.push(explain(step, error));
    }
  }
  return errors;
}

function timeOf(step: Step, time: number): number {
  return step.kind === "cluster" || step.kind === "services" ? Math.max(time, clusterTime) : time;
}

/** One queue for all: a call of the kernel's or the disk's that never returns must not hold every later command. @throws HawserError DEADLINE */
export async function within<T>(time: number, what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new HawserError("DEADLINE", `${what} took longer than ${time} ms and is waited for no more`)), time);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The table's entry for a step's kind takes exactly that step; the compiler cannot follow the kind through the lookup. */
function doerOf(doers: Doers, step: Step): Doer<Step> {
  return doers[step.kind] as Doer<Step>;
}

function explain(step: Step, error: unknown): HawserError {
  if (error instanceof HawserError) return error;
  const { syscall, detail } = error as { readonly syscall?: unknown; readonly detail?: unknown };
  if (typeof syscall !== "string") return new HawserError("INTERNAL", `${describe(step)}: ${messageOf(error)}`, { cause: error });
  const words = typeof detail === "string" && detail !== "" ? ` (${detail})` : "";
  return new HawserError("KERNEL", `${describe(step)}: ${messageOf(error)}${words}`, { cause: error });
}

/** A step in a few words: what, and to which thing. */
export function describe(step: Step): string {
  switch (step.kind) {
    case "network":
    case "removeNetwork":
      return `${step.kind} ${step.network.number}`;
    case "cable":
    case "removeCable":
    case "attach":
    case "detach":
      return `${step.kind} ${step.cable.hostInterface}`;
    case "endpoint":
    case "removeEndpoint":
      return `${step.kind} ${step.endpoint.hostInterface}`;
    case "policy":
      return `policy of ${step.tables.rules.length} rules`;
    case "cluster":
      return `cluster of ${step.cluster.nodes.length} other nodes`;
    case "services":
      return `services: ${step.plans.length}`;
    case "clients":
      return `clients of services: ${step.clients.namespaces.length}`;
    case "containerRoutes":
      return `routes of ${step.routes.size} containers`;
    case "guest":
    case "removeGuest":
      return `${step.kind} ${step.guest.device}`;
    case "claimPort":
    case "port":
    case "removePort":
      return `${step.kind} ${step.port.protocol} ${step.port.hostIp} ${step.port.hostPort}`;
  }
}
