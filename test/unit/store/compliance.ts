// What every store must do, whatever it is made of: run by each implementation's own test file.
import type { ExecutionContext, TestFn } from "ava";
import { HawserError } from "../../../src/std/errors.ts";
import type { Store } from "../../../src/store/types.ts";

export interface Subject {
  /** Opens the same store again and again; the caller closes what it got before opening the next. */
  open(): Promise<Store>;
  remove(): Promise<void>;
}

export function complies(test: TestFn, name: string, create: () => Promise<Subject>): void {
  const claim = (title: string, body: (subject: Subject, t: ExecutionContext) => Promise<void>): void => {
    test(`${name}: ${title}`, async (t) => {
      const subject = await create();
      t.teardown(() => subject.remove());
      await body(subject, t);
    });
  };

  claim("a new store is empty and well", async (subject, t) => {
    const store = await subject.open();
    t.is((await store.load()).size, 0);
    t.is(store.health().state, "ok");
    await store.close();
  });

  claim("what was written is there after opening again, value by value", async (subject, t) => {
    const value = { text: "a \"b\" \u{1f40b}", number: 1.5, list: [1, null, true], nested: { empty: {} } };
    const first = await subject.open();
    await first.write([{ table: "networks", key: "n1", value }, { table: "meta", key: "mac", value: "02:00:00:00:00:01" }]);
    await first.close();
    const second = await subject.open();
    const tables = await second.load();
    t.deepEqual(tables.get("networks")?.get("n1"), value);
    t.is(tables.get("meta")?.get("mac"), "02:00:00:00:00:01");
    await second.close();
  });

  claim("one write may add, replace and remove, and the last change of a key stands", async (subject, t) => {
    const store = await subject.open();
    await store.write([{ table: "t", key: "a", value: 1 }, { table: "t", key: "b", value: 1 }]);
    await store.write([
      { table: "t", key: "a", value: undefined }, { table: "t", key: "b", value: 2 }, { table: "t", key: "c", value: 1 }, { table: "t", key: "c", value: 3 },
      { table: "t", key: "never", value: undefined },
    ]);
    t.deepEqual([...((await store.load()).get("t") ?? [])].toSorted(), [["b", 2], ["c", 3]]);
    await store.close();
    const again = await subject.open();
    t.deepEqual([...((await again.load()).get("t") ?? [])].toSorted(), [["b", 2], ["c", 3]]);
    await again.close();
  });

  claim("what load gave does not change under the reader", async (subject, t) => {
    const store = await subject.open();
    await store.write([{ table: "t", key: "a", value: 1 }]);
    const seen = await store.load();
    await store.write([{ table: "t", key: "a", value: 2 }]);
    t.is(seen.get("t")?.get("a"), 1);
    await store.close();
  });

  claim("an empty write and a backup with nothing new succeed", async (subject, t) => {
    const store = await subject.open();
    await store.write([]);
    await store.backup();
    await store.backup();
    await store.close();
    t.pass();
  });

  claim("closing twice is one close, and a closed store says STORE to everything", async (subject, t) => {
    const store = await subject.open();
    await store.close();
    await store.close();
    for (const work of [() => store.load(), () => store.write([{ table: "t", key: "a", value: 1 }]), () => store.backup()]) {
      const error = await t.throwsAsync(work, { instanceOf: HawserError });
      t.is((error as HawserError).code, "STORE");
    }
  });
}
