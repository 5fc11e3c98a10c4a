// What is wrong with a service, all of it at once.
import { Problems } from "../yaml/problems.ts";
import type { Problem } from "../yaml/problems.ts";

export class ServiceProblems extends Problems {
  constructor(problems: readonly Problem[]) {
    super(problems, "BAD_SERVICE");
    this.name = "ServiceProblems";
  }
}
