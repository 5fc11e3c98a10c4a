// When a node says that the others have taken it for dead.
import test from "ava";
import { watchStruckOut } from "../../../src/peers/struck-out.ts";

interface Moment {
  /** Of the clock that begins at 0, in seconds. */
  readonly until: number | null;
  readonly silent?: boolean;
  /** The server says that the lease was lost. */
  readonly lost?: boolean;
}

/** One moment a second; the seconds in which it was told. */
async function toldAt(moments: readonly Moment[]): Promise<readonly number[]> {
  const [life, told] = [new AbortController(), [] as number[]];
  const listeners = new Set<() => void>();
  let second = 0;
  await watchStruckOut({
    clock: {
      now: () => second * 1000, deadline: () => life.signal,
      sleep: async () => {
        second++;
        if (second >= moments.length) life.abort();
        else if (moments[second]?.lost === true) for (const listener of listeners) listener();
      },
    },
    store: {
      leasedUntil: () => { const until = moments[second]?.until ?? null; return until === null ? null : until * 1000; },
      onLeaseLost: (listener) => {
        listeners.add(listener);
        return { [Symbol.dispose]: () => void listeners.delete(listener) };
      },
    },
    someoneIsSilent: () => moments[second]?.silent === true,
    told: () => told.push(second),
  }, life.signal);
  if (listeners.size > 0) throw new Error("somebody listens still");
  return told;
}


const standing: Moment = { until: 100 };

test("a lease that ends while others are silent is told once, and again after it stood again", async (t) => {
  const cut: Moment = { until: 4, silent: true };
  t.deepEqual(await toldAt([standing, cut, cut, cut, cut, cut, cut]), [4]);
  t.deepEqual(await toldAt([standing, cut, cut, cut, cut, standing, { until: null, silent: true }, cut]), [4, 6]);
});

test("a server that is away alone, and others that are silent alone, are no death", async (t) => {
  t.deepEqual(await toldAt([standing, { until: 2 }, { until: 2 }, { until: 2 }]), []);
  t.deepEqual(await toldAt([standing, { until: 100, silent: true }, standing]), []);
});

test("what the server says of a lost lease counts as well, if others were silent of late; before there was a lease nothing does", async (t) => {
  t.deepEqual(await toldAt([standing, { until: 100, silent: true }, { until: 100, lost: true }, standing]), [2]);
  t.deepEqual(await toldAt([standing, { until: 100, lost: true }]), []);
  t.deepEqual(await toldAt([{ until: null, silent: true }, { until: null, silent: true, lost: true }]), []);
});
