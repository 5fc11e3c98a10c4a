// R104: every drop has a reason, and every reason a sentence.
import test from "ava";
import { DropReason, MetricLayout } from "../../../src/abi/generated.ts";
import { reasonName, reasonSentence, reasonSentences } from "../../../src/abi/reasons.ts";

test("R104: every drop reason has its own sentence", (t) => {
  const sentences = Object.values(reasonSentences);
  t.is(new Set(sentences).size, Object.keys(DropReason).length);
  for (const sentence of sentences) t.regex(sentence, /^[A-Z].*\.$/);
});

test("reasons are numbered without gaps, and fit the metrics' rows", (t) => {
  t.deepEqual(Object.values(DropReason), Object.keys(DropReason).map((_, i) => i));
  t.true(Object.keys(DropReason).length < MetricLayout.METRIC_REASONS);
});

test("a number from a newer program keeps its number", (t) => {
  t.is(reasonName(DropReason.MARTIAN), "MARTIAN");
  t.is(reasonSentence(DropReason.MARTIAN), reasonSentences.MARTIAN);
  t.is(reasonName(200), "REASON_200");
  t.is(reasonSentence(200), "A reason this build does not know (200).");
});
