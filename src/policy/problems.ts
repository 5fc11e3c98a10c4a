// What is wrong with a policy, all of it at once.
import { Problems } from "../yaml/problems.ts";
import type { Problem } from "../yaml/problems.ts";

export class PolicyProblems extends Problems {
  constructor(problems: readonly Problem[]) {
    super(problems, "BAD_POLICY");
    this.name = "PolicyProblems";
  }
}
