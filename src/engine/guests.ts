// Guests are taken up together, and one that cannot be, because its device is just going, keeps no other from it.
import { syncGuests } from "../network/sync-guests.ts";
import type { Context, Decision, State } from "../network/types.ts";
import { messageOf } from "../std/errors.ts";
import { StepFailure } from "./commit.ts";
import type { Guest, GuestReport } from "./types.ts";

/** `make` takes a decision in the queue. */
export async function takeGuests(guests: readonly Guest[], make: (decide: (state: State, context: Context) => Decision<GuestReport>) => Promise<GuestReport>): Promise<GuestReport> {
  const refused: string[] = [];
  let left = guests;
  for (;;) {
    try {
      const told = left;
      const report = await make((state, context) => syncGuests(state, told, context));
      return { ...report, refused: [...refused, ...report.refused] };
    } catch (error) {
      const step = error instanceof StepFailure ? error.step : null;
      const failed = step?.kind === "guest" ? left.find(({ device }) => device === step.guest.device) : undefined;
      if (failed === undefined) throw error;
      refused.push(`${failed.id}: ${messageOf(error)}`);
      left = left.filter((guest) => guest !== failed);
    }
  }
}
