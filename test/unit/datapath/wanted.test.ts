// What several want of a map is there as long as one of them does.
import test from "ava";
import { Wanted } from "../../../src/datapath/wanted.ts";

const look = async (wanted: Wanted<string, number>): Promise<{ readonly gone: unknown; readonly new: unknown }> => {
  const [gone, fresh]: [unknown[], unknown[]] = [[], []];
  for await (const one of wanted.unwanted(async () => undefined)) gone.push(one);
  for await (const [key, value] of wanted.missing(async () => undefined)) fresh.push([key, value]);
  wanted.done();
  return { gone, new: fresh };
};

test("what the map holds already is not written, and what nobody wants of it goes", async (t) => {
  const wanted = new Wanted(new Map([["a", 1], ["b", 2], ["c", 3]]), Object.is);
  wanted.take([["a", 1], ["b", 20], ["d", 4]]);
  t.deepEqual(await look(wanted), { gone: [["c", 3]], new: [["b", 20], ["d", 4]] });
  t.deepEqual(await look(wanted), { gone: [], new: [] });
});

test("a key that two took stays when one drops it, and goes with the other", async (t) => {
  const wanted = new Wanted<string, number>(new Map(), Object.is);
  wanted.take([["a", 1]]);
  wanted.take([["a", 1]]);
  t.deepEqual(await look(wanted), { gone: [], new: [["a", 1]] });
  wanted.drop([["a", 1]]);
  t.deepEqual(await look(wanted), { gone: [], new: [] });
  wanted.drop([["a", 1]]);
  t.deepEqual(await look(wanted), { gone: [["a", 1]], new: [] });
});

test("who takes it anew before he drops it changes its value alone", async (t) => {
  const wanted = new Wanted<string, number>(new Map(), Object.is);
  wanted.take([["a", 1]]);
  await look(wanted);
  wanted.take([["a", 2]]);
  wanted.drop([["a", 1]]);
  t.deepEqual(await look(wanted), { gone: [], new: [["a", 2]] });
});

test("of what several want differently the last one's value counts, and when he drops it the one's before him", async (t) => {
  const wanted = new Wanted<string, number>(new Map(), Object.is);
  wanted.take([["a", 1]]);
  wanted.take([["a", 2]]);
  wanted.take([["a", 2]]);
  t.deepEqual(await look(wanted), { gone: [], new: [["a", 2]] });
  wanted.drop([["a", 2]]);
  t.deepEqual(await look(wanted), { gone: [], new: [] });
  wanted.drop([["a", 2]]);
  t.deepEqual(await look(wanted), { gone: [], new: [["a", 1]] });
  wanted.drop([["a", 1]]);
  t.deepEqual(await look(wanted), { gone: [["a", 1]], new: [] });
});
