// What several want of a map is there as long as one of them does.
import test from "ava";
import { Wanted } from "../../../src/datapath/wanted.ts";

const look = (wanted: Wanted<string, number>): { readonly gone: unknown; readonly new: unknown } => {
  const found = { gone: [...wanted.unwanted()], new: Array.from(wanted.missing(), ([key, value]) => [key, value]) };
  wanted.done();
  return found;
};

test("what the map holds already is not written, and what nobody wants of it goes", (t) => {
  const wanted = new Wanted(new Map([["a", 1], ["b", 2], ["c", 3]]), Object.is);
  wanted.take([["a", 1], ["b", 20], ["d", 4]]);
  t.deepEqual(look(wanted), { gone: [["c", 3]], new: [["b", 20], ["d", 4]] });
  t.deepEqual(look(wanted), { gone: [], new: [] });
});

test("a key that two took stays when one drops it, and goes with the other", (t) => {
  const wanted = new Wanted<string, number>(new Map(), Object.is);
  wanted.take([["a", 1]]);
  wanted.take([["a", 1]]);
  t.deepEqual(look(wanted), { gone: [], new: [["a", 1]] });
  wanted.drop([["a", 1]]);
  t.deepEqual(look(wanted), { gone: [], new: [] });
  wanted.drop([["a", 1]]);
  t.deepEqual(look(wanted), { gone: [["a", 1]], new: [] });
});

test("who takes it anew before he drops it changes its value alone", (t) => {
  const wanted = new Wanted<string, number>(new Map(), Object.is);
  wanted.take([["a", 1]]);
  look(wanted);
  wanted.take([["a", 2]]);
  wanted.drop([["a", 1]]);
  t.deepEqual(look(wanted), { gone: [], new: [["a", 2]] });
});

test("of what several want differently the last one's value counts, and when he drops it the one's before him", (t) => {
  const wanted = new Wanted<string, number>(new Map(), Object.is);
  wanted.take([["a", 1]]);
  wanted.take([["a", 2]]);
  wanted.take([["a", 2]]);
  t.deepEqual(look(wanted), { gone: [], new: [["a", 2]] });
  wanted.drop([["a", 2]]);
  t.deepEqual(look(wanted), { gone: [], new: [] });
  wanted.drop([["a", 2]]);
  t.deepEqual(look(wanted), { gone: [], new: [["a", 1]] });
  wanted.drop([["a", 1]]);
  t.deepEqual(look(wanted), { gone: [["a", 1]], new: [] });
});
