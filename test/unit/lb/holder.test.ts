// Who answers for an address: never two at once while nodes come and go, and soon one again.
import test from "ava";
import fc from "fast-check";
import { holdsByLease, holdsByName, leaseMargin, settling, turnLength, turnOf } from "../../../src/lb/holder.ts";
import type { ByLease, ByName, Rival } from "../../../src/lb/holder.ts";

const rival = (name: string, ready: boolean, since: number): Rival => ({ name, ready, since });
const byName = (more: Partial<ByName>): ReturnType<typeof holdsByName> => holdsByName({ self: "b", rivals: [], holding: false, started: 0, now: 100_000, ...more });
const byLease = (more: Partial<ByLease>): ReturnType<typeof holdsByLease> =>
  holdsByLease({ self: "b", standing: null, since: 0, leasedUntil: null, last: null, turn: 0, now: 100_000, ...more });

test("by name: alone, or the lowest of those that answer", (t) => {
  t.deepEqual(byName({}), { holds: true, next: null });
  t.deepEqual(byName({ rivals: [rival("a", false, 99_000), rival("c", true, 0)] }), { holds: true, next: null });
  t.deepEqual(byName({ rivals: [rival("a", true, 0), rival("c", true, 0)] }), { holds: false, next: null });
});

test("by name: a lower one that answers ends it at once, a higher one that is back does not", (t) => {
  t.deepEqual(byName({ holding: true, rivals: [rival("a", true, 100_000)] }), { holds: false, next: null });
  t.deepEqual(byName({ holding: true, rivals: [rival("c", true, 100_000)] }), { holds: true, next: null });
});

test("by name: who is back waits until the others have seen it", (t) => {
  t.deepEqual(byName({ started: 99_000, rivals: [rival("c", true, 99_000)] }), { holds: false, next: 99_000 + settling });
  t.deepEqual(byName({ rivals: [rival("c", true, 98_500), rival("d", true, 97_000)] }), { holds: false, next: 98_500 + settling });
  t.deepEqual(byName({ started: 99_000, rivals: [rival("c", false, 99_900)] }), { holds: true, next: null });
});

test("by lease: whose word stands has the address for certain until shortly before its lease ends", (t) => {
  const own = { node: "b", own: true };
  t.deepEqual(byLease({ standing: own, leasedUntil: 110_000 }), { holdsUntil: 110_000 - leaseMargin, claim: false, next: null });
  t.deepEqual(byLease({ standing: own, leasedUntil: 90_000 }), { holdsUntil: 90_000 - leaseMargin, claim: false, next: null }, "and goes on");
  t.deepEqual(byLease({ standing: own, leasedUntil: null, last: 95_000 }), { holdsUntil: 95_000, claim: true, next: null });
  t.deepEqual(byLease({ standing: { node: "a", own: false }, leasedUntil: 110_000, last: 105_000 }), { holdsUntil: null, claim: false, next: null });
});

test("by lease: a free address is claimed by who has held it, then in turn", (t) => {
  t.deepEqual(byLease({ since: 100_000, last: 99_000, turn: 2 }), { holdsUntil: 99_000, claim: true, next: null });
  t.deepEqual(byLease({ since: 100_000 }), { holdsUntil: null, claim: false, next: 100_000 + turnLength });
  t.deepEqual(byLease({ since: 100_000, turn: 2 }), { holdsUntil: null, claim: false, next: 100_000 + 3 * turnLength });
  t.deepEqual(byLease({ since: 100_000 - 3 * turnLength, turn: 2 }), { holdsUntil: null, claim: true, next: null });
});

test("by lease: a new agent goes on with what its last one held, and takes over its word", (t) => {
  t.deepEqual(byLease({ standing: undefined, last: 105_000 }), { holdsUntil: 105_000, claim: false, next: null });
  t.deepEqual(byLease({ standing: { node: "b", own: false }, last: 105_000 }), { holdsUntil: 105_000, claim: true, next: null });
  t.deepEqual(byLease({ standing: { node: "b", own: false } }), { holdsUntil: null, claim: true, next: null });
});

test("every node has its own turn", (t) => {
  const weigh = (node: string): number => ({ a: 7, b: 3, c: 3 })[node] ?? 0;
  t.deepEqual(["a", "b", "c"].map((self) => turnOf(self, ["a", "b", "c"], weigh)), [2, 0, 1]);
});

const [step, calm] = [100, 30_000];
const names = ["a", "b", "c"];

/** Names by index, and moments at which something about a node turns, up to a minute. */
const turns = fc.array(fc.record({ at: fc.nat(60_000), node: fc.nat(2), what: fc.constantFrom("node", "agent", "link") }), { maxLength: 25 });
const lags = fc.array(fc.nat(1000), { minLength: 30, maxLength: 30 });

interface Seeing { ready: boolean; since: number; missed: number; firstMissed: number }

test("by name: nodes that die and return, at whatever moments, never answer two at once, and the lowest does in the end", (t) => {
  fc.assert(fc.property(turns, lags, (schedule, phases) => {
    const nodes = names.map((name, i) => ({ name, up: true, started: 0, holding: false, seen: names.map((): Seeing => ({ ready: true, since: 0, missed: 0, firstMissed: 0 })), i }));
    for (let now = 0; now < 60_000 + calm; now += step) {
      for (const { node, at } of schedule) {
        const one = nodes[node];
        if (one === undefined || at < now || at >= now + step) continue;
        Object.assign(one, { up: !one.up, started: now, holding: false, seen: names.map((): Seeing => ({ ready: true, since: now, missed: 0, firstMissed: 0 })) });
      }
      for (const one of nodes.filter(({ up }) => up)) {
        for (const [j, seeing] of one.seen.entries()) {
          // Each is asked every 1100 ms at most (src/peers/probes.ts), at a moment of its own.
          if (j === one.i || (now + (phases[3 * one.i + j] ?? 0)) % 1100 >= step) continue;
          if (nodes[j]?.up) {
            if (!seeing.ready) Object.assign(seeing, { ready: true, since: now });
            seeing.missed = 0;
          } else {
            if (seeing.missed++ === 0) seeing.firstMissed = now;
            if (seeing.ready && seeing.missed >= 3 && now - seeing.firstMissed >= 3000) Object.assign(seeing, { ready: false, since: now });
          }
        }
        const rivals = one.seen.flatMap(({ ready, since }, j) => (j === one.i ? [] : [rival(names[j] ?? "", ready, since)]));
        one.holding = holdsByName({ self: one.name, rivals, holding: one.holding, started: one.started, now }).holds;
      }
      if (nodes.filter(({ up, holding }) => up && holding).length > 1) return false;
    }
    const up = nodes.filter((one) => one.up);
    return up.length === 0 || up[0]?.holding === true;
  }), { numRuns: 200 });
  t.pass();
});

test("by lease: nodes, agents and ways to the store that fail and return never make two answer, and one does in the end", (t) => {
  fc.assert(fc.property(turns, lags, (schedule, delays) => {
    const ttl = 15_000;
    const store = { key: null as { readonly node: number; readonly lease: number } | null };
    const leases: number[] = [];
    /** What is on its way, at which moment it arrives. */
    let posts: { at: number; run: (now: number) => void }[] = [];
    let drawn = 0;
    const lag = (): number => (delays[drawn++ % delays.length] ?? 0) / 3;
    const later = (now: number, run: (now: number) => void): void => void posts.push({ at: now + lag(), run });
    const agent = (since: number) => ({ lease: -1, leasedUntil: null as number | null, standing: undefined as ByLease["standing"], since, asked: -Infinity, kept: -Infinity });
    const nodes = names.map((name, i) => ({ name, i, up: true, agentUp: true, link: true, /** As `hw_lb_held` has it. */
      entry: null as { readonly until: number; readonly yielded: boolean } | null, agent: agent(0) }));
    const hear = (one: (typeof nodes)[number], heard: typeof store.key, now: number): void => {
      if (!one.agentUp) return;
      const standing = heard === null ? null : { node: names[heard.node] ?? "", own: heard.node === one.i && heard.lease === one.agent.lease };
      if (one.agent.standing?.node !== standing?.node || one.agent.standing === undefined) one.agent.since = now;
      one.agent.standing = standing;
    };
    const tell = (now: number): void => {
      const heard = store.key;
      for (const one of nodes) if (one.link) later(now, (at) => { if (store.key === heard) hear(one, heard, at); });
    };
    for (let now = 0; now < 60_000 + calm; now += step) {
      for (const { node, at, what } of schedule) {
        const one = nodes[node];
        if (one === undefined || at < now || at >= now + step) continue;
        if (what === "link") one.link = !one.link;
        else {
          if (what === "node") Object.assign(one, { up: !one.up, agentUp: !one.up, entry: null });
          else if (one.up) one.agentUp = !one.agentUp;
          one.agent = agent(now);
        }
      }
      if (now === 60_000) for (const one of nodes) one.link = true;
      // Who cannot reach the store hears of everything when it can.
      if (now % 1000 === 0) tell(now);
      if (store.key !== null && (leases[store.key.lease] ?? 0) <= now) {
        store.key = null;
        tell(now);
      }
      const arrived = posts.filter(({ at }) => at <= now).toSorted((x, y) => x.at - y.at);
      posts = posts.filter(({ at }) => at > now);
      for (const { run } of arrived) run(now);
      for (const one of nodes.filter(({ up, agentUp }) => up && agentUp)) {
        const mine = one.agent;
        const reply = (now: number, run: () => void): void => later(now, () => { if (one.agent === mine && one.agentUp && one.link) run(); });
        if (one.link && now - mine.kept >= ttl / 3) {
          mine.kept = now;
          later(now, (at) => {
            if (!one.link) return;
            const alive = mine.lease >= 0 && (leases[mine.lease] ?? 0) > at;
            const lease = alive ? mine.lease : leases.length;
            leases[lease] = at + ttl;
            reply(at, () => {
              if (lease !== mine.lease && mine.standing?.own) mine.standing = { node: one.name, own: false };
              Object.assign(mine, { lease, leasedUntil: now + ttl });
            });
          });
        }
        const { holdsUntil, claim } = holdsByLease({
          self: one.name, standing: mine.standing, since: mine.since, leasedUntil: mine.leasedUntil, last: one.entry?.yielded === false ? one.entry.until : null, turn: one.i, now,
        });
        // What is new is announced first, and who has it no longer for certain yields.
        if (one.entry?.yielded !== false && holdsUntil !== null) {
          for (const other of nodes) if (other !== one && other.entry !== null && other.entry.until <= now) other.entry = { ...other.entry, yielded: true };
        }
        if (holdsUntil === null) one.entry = null;
        else if (one.entry?.until !== holdsUntil) one.entry = { until: holdsUntil, yielded: false };
        if (!claim || mine.lease < 0 || !one.link || now - mine.asked < 2000) continue;
        mine.asked = now;
        later(now, (at) => {
          if (!one.link || (leases[mine.lease] ?? 0) <= at) return;
          if (store.key === null || store.key.node === one.i) {
            store.key = { node: one.i, lease: mine.lease };
            tell(at);
          }
        });
      }
      if (nodes.filter(({ up, entry }) => up && entry !== null && !entry.yielded).length > 1) return false;
    }
    const able = nodes.filter(({ up, agentUp }) => up && agentUp);
    return able.length === 0 || nodes.some(({ up, entry }) => up && entry !== null && !entry.yielded);
  }), { numRuns: 200 });
  t.pass();
});
