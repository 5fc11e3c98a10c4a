// Links: attachments that last as long as their handle or their pin.
import type { NativeLink } from "./addon.ts";
import { kernelCall } from "./errors.ts";
import { nativeOf } from "./program.ts";
import type { KernelLink, KernelProgram } from "./types.ts";

export class LinkHandle implements KernelLink {
  readonly native: NativeLink;
  readonly id: number;
  readonly program: number;

  constructor(native: NativeLink) {
    this.native = native;
    ({ id: this.id, programId: this.program } = native.info());
  }

  update(program: KernelProgram): void {
    kernelCall(() => {
      this.native.info(); // a closed link is refused before its argument is looked at
      this.native.update(nativeOf(program));
    });
  }

  pin(path: string): void {
    kernelCall(() => this.native.pin(path));
  }

  detach(): void {
    kernelCall(() => this.native.detach());
  }

  close(): void {
    this.native.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
