// Errors with a stable code and a sentence for people; doors render them, nobody else does.
import { inspect } from "node:util";

/** Every code a user can meet. docs/errors.md is generated from this table, so a new code needs its remedy here. */
export const errorCodes = {
  BAD_REQUEST: "The request is malformed; the message names the field.",
  BAD_OPTION: "An option's value is wrong; the message names the key and what it may be.",
  BAD_POLICY: "A policy is wrong; the message names file, line and column and the nearest right word. What was in force stays.",
  TABLE_FULL: "The policy, or the services, need more entries than a table may have; the message names the table. What was in force stays.",
  BAD_CONFIG: "A configuration key or value is wrong; the message names the key, the place and the allowed values.",
  BAD_SERVICE: "A service is wrong; the message names file, line and column and the nearest right word. What was in force stays.",
  NOT_FOUND: "The thing named does not exist; list what does with `hawser network list` or `hawser endpoint list`.",
  ALREADY_EXISTS: "A thing of that name or address exists already; remove it or choose another.",
  IN_USE: "The thing is still used; the message names by what.",
  PORT_IN_USE: "The host port is taken; choose another host port or stop what holds it (`hawser port`, `ss -ltnup`).",
  NO_FREE_ADDRESS: "The pool has no free address; use a larger --subnet or a larger pool in the configuration.",
  NO_FREE_POOL: "The node has no free subnet; enlarge `pool` in the configuration or give --subnet.",
  NO_FREE_PORT: "No ephemeral host port is free; name one or remove published ports.",
  OVERLAP: "The subnet overlaps another; choose one that does not.",
  UNSUPPORTED: "This build, kernel or host cannot do it; the message says what is missing.",
  DEADLINE: "The work took longer than its deadline and was undone; look at `hawser status`.",
  KERNEL: "The kernel refused a call; the message names the call and the errno.",
  STORE: "The state, or what nodes share, could not be read or written; the message names the file, or etcd's address and what to look at.",
  AGENT_UNREACHABLE: "The agent does not answer on its socket; start it (`systemctl start hawser`, or `hawser agent`) or pick another with --socket.",
  INTERNAL: "Hawser is wrong here; please report it with the message.",
} as const;

export type ErrorCode = keyof typeof errorCodes;

/** An error that a person can act on. `message` is one sentence naming the thing, the place and the remedy. */
export class HawserError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = "HawserError";
    this.code = code;
  }
}

/** The sentence to show for anything thrown. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError) {
    return [error.message, ...error.errors.map(messageOf)].filter(Boolean).join("; ");
  }
  return error instanceof Error ? error.message : String(error);
}

/** Makes anything thrown a HawserError; what is not one already is INTERNAL. */
export function asHawserError(error: unknown): HawserError {
  return error instanceof HawserError ? error : new HawserError("INTERNAL", messageOf(error), { cause: error });
}

/** For the default arm of a switch over a union: a new member does not compile. */
export function unreachable(value: never): never {
  throw new HawserError("INTERNAL", `unexpected value ${inspect(value)}`);
}
