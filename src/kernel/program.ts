// A loaded program, and an object's worth of them with their maps.
import type { NativeProgram } from "./addon.ts";
import { kernelCall } from "./errors.ts";
import type { KernelMap, KernelObject, KernelProgram, ProgramTestResult, ProgramTestRun } from "./types.ts";
import { liveFrames, programTypes, skBuffSize } from "./uapi.ts";

/** Room for what a program pushes in front of or behind the packet. */
const growth = 512;

export class ProgramHandle implements KernelProgram {
  readonly native: NativeProgram;
  readonly name: string;
  readonly section: string;
  readonly id: number;
  readonly #type: number;

  constructor(native: NativeProgram) {
    this.native = native;
    ({ name: this.name, section: this.section, id: this.id, type: this.#type } = native.info());
  }

  testRun({ data, context, repeat = 1, live = false }: ProgramTestRun): ProgramTestResult {
    if (live) return kernelCall(() => this.native.testRun(data, context, repeat, 0, 0, liveFrames));
    const contextOut = this.#type === programTypes.schedCls ? skBuffSize : (context?.length ?? 0);
    return kernelCall(() => this.native.testRun(data, context, repeat, data.length + growth, contextOut, 0));
  }
}

export class ObjectHandle implements KernelObject {
  readonly programs: ReadonlyMap<string, ProgramHandle>;
  readonly maps: ReadonlyMap<string, KernelMap>;

  constructor(programs: readonly ProgramHandle[], maps: ReadonlyMap<string, KernelMap>) {
    this.programs = new Map(programs.map((program) => [program.name, program]));
    this.maps = maps;
  }

  /** Closes its programs and maps; what is attached, pinned or reused lives on in the kernel. */
  close(): void {
    for (const program of this.programs.values()) program.native.close();
    for (const map of this.maps.values()) map.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The addon's handle of a program that this room loaded. */
export function nativeOf(program: KernelProgram): NativeProgram {
  if (!(program instanceof ProgramHandle)) throw new TypeError(`program ${program.name} was not loaded by this kernel`);
  return program.native;
}
