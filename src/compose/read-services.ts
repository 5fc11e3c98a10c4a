// What the process does that `service-reader.ts` starts: reads the documents that come in and says what each holds. It ends when nobody listens.
import { readDocument } from "../lb/read.ts";
import type { ReadServices } from "../lb/read.ts";
import type { WrittenDocument } from "../engine/types.ts";
import { otherBuild, readerBuild } from "./reader-build.ts";

/** Documents in one message back, which the agent takes in one turn. */
const piece = 20;

if (process.argv[2] !== readerBuild()) process.exit(otherBuild);
process.on("message", (documents: readonly WrittenDocument[]) => {
  let told: ReadServices[] = [];
  const tell = (): void => {
    process.send?.(told);
    told = [];
  };
  for (const document of documents) if (told.push(readDocument(document)) === piece) tell();
  if (told.length > 0) tell();
});
process.on("disconnect", () => process.exit());
