// A network that finds no place in this node's slices of the pool: the node claims one more, as long as there are any.
import type { RequestPool } from "../network/commands.ts";
import { HawserError, messageOf } from "../std/errors.ts";
import type { Family } from "../std/ip.ts";

/** @returns false: there are none to claim. The engine knows of it when it resolves. @throws HawserError NO_FREE_POOL, STORE */
export type ClaimSlice = (family: Family, signal?: AbortSignal) => Promise<boolean>;

/** One at a time: two that find no place need one slice. */
export function createAnotherSlice(claim: ClaimSlice | undefined): <Reply>(command: RequestPool, request: () => Promise<Reply>, signal?: AbortSignal) => Promise<Reply> {
  let last: Promise<unknown> = Promise.resolve();
  /** One more did not help: something else than networks is in the way, and claiming on would use up the pool. */
  const futile = new Set<Family>();

  const withOneMore = async <Reply>(family: Family, request: () => Promise<Reply>, signal?: AbortSignal): Promise<Reply> => {
    const full = await request().then((reply) => ({ reply }), (error: unknown) => ({ error }));
    if ("reply" in full) return full.reply;
    if (!isFull(full.error)) throw full.error;
    if (futile.has(family)) throw full.error;
    const claimed = await claim?.(family, signal).catch((error: unknown) => {
      throw new HawserError("NO_FREE_POOL", `${messageOf(full.error)}. No other slice could be claimed: ${messageOf(error)}`, { cause: error });
    });
    if (claimed !== true) throw full.error;
    return request().catch((error: unknown) => {
      if (isFull(error)) futile.add(family);
      throw error;
    });
  };

  return async (command, request, signal) => {
    const family = command.ipv6 ? 6 : 4;
    try {
      const reply = await request();
      if (command.pool === "") futile.delete(family);
      return reply;
    } catch (error) {
      if (!isFull(error) || command.pool !== "") throw error;
    }
    const turn = last.then(() => withOneMore(family, request, signal));
    last = turn.catch(() => undefined);
    return turn;
  };
}

function isFull(error: unknown): boolean {
  return error instanceof HawserError && error.code === "NO_FREE_POOL";
}
