// What every shared store must do, whatever serves it: run by each implementation's own test file.
import type { ExecutionContext, TestFn } from "ava";
import { HawserError } from "../../../src/std/errors.ts";
import type { SharedEvent, SharedStore } from "../../../src/store/shared.ts";

export interface SharedSubject {
  /** Opens the same store again and again, as one node that starts anew; the caller disposes of what it got before opening the next. */
  open(): Promise<SharedStore>;
  remove(): Promise<void>;
}

/** Reads a watch event by event; what it never gets, the test's own time limit ends. */
export function follow(store: SharedStore, prefix: string): { next(): Promise<SharedEvent>; stop(): Promise<void>; readonly view: Map<string, string> } {
  const ended = new AbortController();
  const events = store.watch(prefix, ended.signal)[Symbol.asyncIterator]();
  const view = new Map<string, string>();
  return {
    view,
    next: async () => {
      const { value, done } = await events.next();
      if (done === true) throw new Error("the watch ended");
      const event: SharedEvent = value;
      if (event.kind === "snapshot") {
        view.clear();
        for (const [key, text] of event.entries) view.set(key, text);
      } else if (event.kind === "changes") {
        for (const { key, value: text } of event.changes) if (text === undefined) view.delete(key); else view.set(key, text);
      }
      return event;
    },
    stop: async () => {
      ended.abort();
      while ((await events.next()).done !== true);
    },
  };
}

export function sharedComplies(test: TestFn, name: string, create: () => Promise<SharedSubject>): void {
  const claim = (title: string, body: (store: SharedStore, t: ExecutionContext, subject: SharedSubject) => Promise<void>): void => {
    test(`${name}: ${title}`, async (t) => {
      const subject = await create();
      t.teardown(() => subject.remove());
      const store = await subject.open();
      await body(store, t, subject);
      await store[Symbol.asyncDispose]();
    });
  };

  claim("a new store is empty and well", async (store, t) => {
    t.is((await store.list("")).size, 0);
    t.is(store.health().state, "ok");
  });

  claim("a list has what was written under its prefix, letter by letter, and nothing else", async (store, t) => {
    const text = "{\"a\": \"\u{1f40b} \\\"\"}\n";
    await store.write([{ key: "nodes/a", value: text }, { key: "nodes/\u{1f40b}", value: "" }, { key: "nodesnot", value: "x" }, { key: "node", value: "x" }]);
    t.deepEqual([...(await store.list("nodes/"))].toSorted(), [["nodes/a", text], ["nodes/\u{1f40b}", ""]]);
    t.is((await store.list("")).size, 4);
    t.is((await store.list("other/")).size, 0);
  });

  claim("one write may add, replace and remove, and the last change of a key stands", async (store, t) => {
    await store.write([{ key: "a", value: "1" }, { key: "b", value: "1" }]);
    await store.write([
      { key: "a", value: undefined }, { key: "b", value: "2" }, { key: "c", value: "1" }, { key: "c", value: "3" }, { key: "never", value: undefined },
    ]);
    t.deepEqual([...(await store.list(""))].toSorted(), [["b", "2"], ["c", "3"]]);
  });

  claim("a write of no change and one of thousands succeed", async (store, t) => {
    await store.write([]);
    await store.write(Array.from({ length: 2500 }, (_, i) => ({ key: `k/${i}`, value: `v${i}` })));
    const all = await store.list("k/");
    t.is(all.size, 2500);
    t.is(all.get("k/2499"), "v2499");
    await store.write([...all.keys()].map((key) => ({ key, value: undefined })));
    t.is((await store.list("k/")).size, 0);
  });

  claim("of many who claim at once one wins, and all are told who", async (store, t) => {
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => store.claim("slices/10.44.7.0", `node${i}`)));
    t.is(new Set(answers).size, 1);
    t.is((await store.list("slices/")).get("slices/10.44.7.0"), answers[0]);
  });

  claim("a claim that was made already is answered the same, and one that was given up is free", async (store, t) => {
    t.is(await store.claim("n/256", "a"), "a");
    t.is(await store.claim("n/256", "a"), "a");
    t.is(await store.claim("n/256", "b"), "a");
    await store.write([{ key: "n/256", value: undefined }]);
    t.is(await store.claim("n/256", "b"), "b");
  });

  claim("of many exchanges of one value one is made, whole, and the others do nothing", async (store, t) => {
    const first = await Promise.all(Array.from({ length: 10 }, (_, i) => store.exchange({ key: "turn", value: undefined }, [{ key: `a/${i}`, value: "1" }, { key: "turn", value: "1" }])));
    t.is(first.filter(Boolean).length, 1);
    t.deepEqual([...(await store.list("")).keys()].toSorted(), [`a/${first.indexOf(true)}`, "turn"]);
    t.false(await store.exchange({ key: "turn", value: "0" }, [{ key: "turn", value: "2" }]));
    t.true(await store.exchange({ key: "turn", value: "1" }, [{ key: `a/${first.indexOf(true)}`, value: undefined }, { key: "live", value: "x", leased: true }, { key: "turn", value: "2" }]));
    t.deepEqual([...(await store.list(""))].filter(([key]) => key !== "live"), [["turn", "2"]]);
  });

  claim("what is claimed and written stays when the node starts anew; what is leased goes", async (store, t, subject) => {
    await store.claim("slices/a", "me");
    await store.claim("live/claimed", "me", { leased: true });
    await store.write([{ key: "kept", value: "1" }, { key: "live/written", value: "1", leased: true }]);
    t.is((await store.list("live/")).size, 2);
    await store[Symbol.asyncDispose]();
    const again = await subject.open();
    const watched = follow(again, "");
    do await watched.next(); while (watched.view.size > 2);
    t.deepEqual([...watched.view].toSorted(), [["kept", "1"], ["slices/a", "me"]]);
    await watched.stop();
    await again[Symbol.asyncDispose]();
  });

  claim("what stops being leased stays", async (store, t, subject) => {
    await store.write([{ key: "a", value: "1", leased: true }, { key: "b", value: "1", leased: true }]);
    await store.write([{ key: "a", value: "2" }]);
    await store[Symbol.asyncDispose]();
    const again = await subject.open();
    const watched = follow(again, "");
    do await watched.next(); while (watched.view.size > 1);
    t.deepEqual([...watched.view], [["a", "2"]]);
    await watched.stop();
    await again[Symbol.asyncDispose]();
  });

  claim("a watch begins with what there is, and then says what changes under its prefix", async (store, t) => {
    await store.write([{ key: "w/a", value: "1" }, { key: "v", value: "1" }]);
    const watched = follow(store, "w/");
    t.deepEqual(await watched.next(), { kind: "snapshot", entries: new Map([["w/a", "1"]]) });
    const changed = watched.next();
    await store.write([{ key: "v", value: "2" }, { key: "w/a", value: undefined }]);
    t.deepEqual(await changed, { kind: "changes", changes: [{ key: "w/a", value: undefined }] });
    await store.claim("w/b", "2");
    t.deepEqual(await watched.next(), { kind: "changes", changes: [{ key: "w/b", value: "2" }] });
    await watched.stop();
  });

  claim("changes that come together are one event, and a late reader gets the newest of each key", async (store, t) => {
    const watched = follow(store, "");
    await watched.next();
    await store.write(Array.from({ length: 50 }, (_, i) => ({ key: `k${i}`, value: "1" })));
    const event = await watched.next();
    t.is(event.kind === "changes" ? event.changes.length : 0, 50);
    const witness = follow(store, "");
    await witness.next();
    await store.write([{ key: "k0", value: "2" }]);
    await store.write([{ key: "k0", value: "3" }, { key: "k1", value: undefined }]);
    do await witness.next(); while (witness.view.get("k0") !== "3");
    do await watched.next(); while (watched.view.get("k0") !== "3");
    t.deepEqual([watched.view.get("k0"), watched.view.has("k1"), watched.view.size], ["3", false, 49]);
    await Promise.all([watched.stop(), witness.stop()]);
  });

  claim("a watch that begins among writes misses none", async (store, t) => {
    const writing = (async () => {
      for (let i = 0; i < 100; i++) await store.write([{ key: `k/${i}`, value: String(i) }]);
    })();
    for (let i = 0; i < 10; i++) {
      const early = follow(store, "k/");
      await early.next();
      await early.stop();
    }
    const watched = follow(store, "k/");
    do await watched.next(); while (!watched.view.has("k/99"));
    t.is(watched.view.size, 100);
    await watched.stop();
    await writing;
  });

  claim("a signal ends a watch, and refuses what was asked after it", async (store, t) => {
    const watched = follow(store, "");
    await watched.next();
    const waiting = watched.next();
    void watched.stop();
    await t.throwsAsync(waiting, { message: "the watch ended" });
    const reason = new Error("enough");
    await t.throwsAsync(store.list("", AbortSignal.abort(reason)), { is: reason });
    await t.throwsAsync(store.write([{ key: "a", value: "1" }], AbortSignal.abort(reason)), { is: reason });
    await t.throwsAsync(store.claim("a", "1", { signal: AbortSignal.abort(reason) }), { is: reason });
    t.is((await store.list("")).size, 0);
  });

  claim("closing twice is one close, ends every watch, and a closed store says STORE to everything", async (store, t) => {
    const watched = follow(store, "");
    await watched.next();
    const waiting = watched.next();
    await store[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
    await t.throwsAsync(waiting, { message: "the watch ended" });
    for (const work of [() => store.list(""), () => store.write([{ key: "a", value: "1" }]), () => store.claim("a", "1")]) {
      t.is((await t.throwsAsync(work, { instanceOf: HawserError })).code, "STORE");
    }
  });
}
