// Arguments and options that know what may stand in their place.
import { Argument, Option } from "commander";

export type Completes = "endpoints" | "containers" | "networks" | "nodes" | "maps" | "policies" | "services" | "peers" | "files" | "commands";

export class CompletingArgument extends Argument {
  readonly completes: Completes;

  constructor(name: string, description: string, completes: Completes) {
    super(name, description);
    this.completes = completes;
  }
}

export class CompletingOption extends Option {
  readonly completes: Completes;

  constructor(flags: string, description: string, completes: Completes) {
    super(flags, description);
    this.completes = completes;
  }
}

export function configOption(): Option {
  return new CompletingOption("-c, --config <file>", "configuration file (default: /etc/hawser/hawser.yaml if it exists)", "files");
}
