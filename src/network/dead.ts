// Which endpoints are over though nobody said so: their cable went with the container's namespace, or with a reboot.
import type { Context, Endpoint } from "./types.ts";

/** What is younger may have a cable that has not been seen yet. Milliseconds. */
const settled = 5000;

/**
 * What a dead endpoint holds (addresses, MAC, ports) goes to whoever Docker names next: after a crash or a reboot Docker
 * starts containers again without a word about the old ones (facts 0.8).
 */
export function isDead(endpoint: Endpoint, context: Pick<Context, "now" | "standing">): boolean {
  return context.now - endpoint.createdAt >= settled && !context.standing().cables.has(endpoint.hostInterface);
}
