// Policy files to policies: all of them, or every problem of every file.
import { isCompose, readCompose } from "./compose.ts";
import { readPolicy } from "./document.ts";
import { readPages } from "../yaml/page.ts";
import type { Page } from "../yaml/page.ts";
import { attempt } from "../yaml/problems.ts";
import type { Problem } from "../yaml/problems.ts";
import { PolicyProblems } from "./problems.ts";
import { placeText } from "../yaml/render.ts";
import type { Policy } from "./types.ts";

export interface PolicySource {
  /** How places call it; of a Compose file without `name:` the folder in it is the project. */
  readonly file: string;
  readonly text: string;
}

/** Problems of one file; nobody reads on. */
const enough = 1000;

/**
 * A text may hold several documents, each a policy, and may be a Compose file.
 * @throws PolicyProblems with every problem, each with its file, line and column; then nothing of the documents may be used.
 */
export function readPolicies(documents: readonly PolicySource[]): readonly Policy[] {
  const problems: Problem[] = [];
  const policies: Policy[] = [];
  const byName = new Map<string, Policy>();
  for (const policy of documents.flatMap((document) => readInOrder(document, problems))) {
    const other = byName.get(policy.name);
    if (other === undefined) byName.set(policy.name, policy);
    else problems.push({ place: policy.place, message: `there is another policy ${policy.name} at ${placeText(other.place)}; a policy's name is unique` });
    policies.push(policy);
  }
  if (problems.length > 0) throw new PolicyProblems(problems);
  return policies;
}

function readInOrder(document: PolicySource, problems: Problem[]): readonly Policy[] {
  const own: Problem[] = [];
  const policies = readDocument(document, own);
  own.sort(({ place: a }, { place: b }) => a.line - b.line || a.column - b.column);
  for (const one of own) problems.push(one);
  return policies;
}

function readDocument({ file, text }: PolicySource, problems: Problem[]): readonly Policy[] {
  const policies: Policy[] = [];
  for (const page of readPages(file, text, "policy", problems)) {
    if (problems.length > enough) break;
    policies.push(...attempt(problems, () => readPage(page, file, problems)) ?? []);
  }
  return policies;
}

function readPage(page: Page, file: string, problems: Problem[]): readonly Policy[] {
  if (isCompose(page)) return readCompose(page, file, problems);
  const policy = readPolicy(page, page.root, { name: null, scope: null, closedNames: null }, problems);
  return policy === undefined ? [] : [policy];
}
