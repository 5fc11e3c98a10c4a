// One result of `hawser doctor`: made by the checks, shown by the command line.

export interface Finding {
  /** Short name of what was looked at, such as "kernel version". */
  readonly check: string;
  readonly state: "ok" | "warn" | "fail";
  /** What was found. */
  readonly detail: string;
  /** What to do about it; "" when there is nothing to do. */
  readonly mend: string;
}
