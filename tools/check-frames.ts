// Keeps every BPF program's frames within what the kernel grants: those of a chain of calls lie on one stack, and are added before a packet comes.
//
// As Linux 6.1 counts (check_max_stack_depth): a function's frame reaches to the lowest offset from r10 that it uses and is rounded up to 32 bytes,
// at least one of them; those of the longest chain may be 512 bytes together, in 8 frames. Later kernels round to 16, so what fits 6.1 fits them.
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";

const most = { bytes: 512, frames: 8 };
const rounding = 32;

interface Function {
  readonly name: string;
  /** Bytes, rounded up. */
  readonly frame: number;
  readonly calls: readonly string[];
}

export interface Chain {
  /** From the program down. */
  readonly functions: readonly string[];
  readonly bytes: number;
}

/** What `llvm-objdump -d -r` printed, function by function */
export function functionsOf(disassembly: string): readonly Function[] {
  const sections = disassembly.split(/^Disassembly of section /m).slice(1).map((text) => ({ name: text.slice(0, text.indexOf(":\n")), text }));
  const heads = (text: string): readonly RegExpExecArray[] => [...text.matchAll(/^([0-9a-f]{16}) <(?!LBB\d+_\d+>)([^>]+)>:\n/gm)];
  /** By section and instruction. */
  const starts = new Map(sections.flatMap(({ name: section, text }) => heads(text).map(([, address = "", name = ""]) => [`${section} ${parseInt(address, 16) / 8}`, name])));
  const names = new Set(starts.values());
  /** Whom a helper calls back for the function, whose frame lies below its own as if it had called itself. */
  const handedOn = (body: string): readonly string[] =>
    [...body.matchAll(/\tr\d+ = 0x([0-9a-f]+) ll\n\t+[0-9a-f]+: +R_BPF_64_64\t(\S+)/g)].flatMap(([, offset = "", symbol = ""]) => {
      const name = names.has(symbol) ? symbol : starts.get(`${symbol} ${parseInt(offset, 16) / 8}`);
      return name === undefined ? [] : [name];
    });
  return sections.flatMap(({ name: section, text }) => heads(text).map((head, i, all) => {
    const body = text.slice(head.index + head[0].length, all[i + 1]?.index);
    return { name: head[2] ?? "", frame: frameOf(body), calls: [...callsOf(body, section, starts), ...handedOn(body)] };
  }));
}

function frameOf(body: string): number {
  let lowest = 1;
  /** Registers that hold r10 until they are written again. */
  const frames = new Set<string>();
  for (const [, text = ""] of body.matchAll(/^ *\d+:\t(?:[0-9a-f]{2} ?)+\t(.*)$/gm)) {
    for (const [, offset = ""] of text.matchAll(/\(r10 - 0x([0-9a-f]+)\)/g)) lowest = Math.max(lowest, parseInt(offset, 16));
    const [, register = "", operator = "", operand = ""] = /^([rw]\d+) ([-+*/|&<>^%s]*=) (.*)$/.exec(text) ?? [];
    const below = /^-0x([0-9a-f]+)$/.exec(operand);
    if (operator === "+=" && below !== null && frames.has(register)) lowest = Math.max(lowest, parseInt(below[1] ?? "", 16));
    if (operator === "=" && operand === "r10") frames.add(register);
    else if (register !== "") frames.delete(register.replace("w", "r"));
  }
  return Math.ceil(lowest / rounding) * rounding;
}

/**
 * Calls of functions are told from those of helpers by their source register, 1. Who is called stands in the relocation: a function's name, or a section's,
 * within which the call's number counts; without one it counts from the call on.
 */
function callsOf(body: string, section: string, starts: ReadonlyMap<string, string>): readonly string[] {
  const calls = body.matchAll(/^ *(\d+):\t85 10 .*\tcall (-?)0x([0-9a-f]+)\n(?:\t+[0-9a-f]+: +R_BPF_64_32\t(\S+))?/gm);
  return [...calls].map(([, at = "", sign = "", distance = "", named]) => {
    const number = Number(`${sign}${parseInt(distance, 16)}`) + 1;
    if (named !== undefined && !named.startsWith(".")) return named;
    const target = named === undefined ? `${section} ${Number(at) + number}` : `${named} ${number}`;
    const name = starts.get(target);
    if (name === undefined) throw new Error(`no function begins at ${target}`);
    return name;
  });
}

/** The chains with most bytes, and with most frames, of those that begin at any function. @throws Error for calls that come back, which no verifier takes */
export function worst(functions: readonly Function[]): { readonly deepest: Chain; readonly longest: Chain } {
  const known = new Map(functions.map((one) => [one.name, one]));
  const chains = functions.flatMap(({ name }) => chainsFrom(name, []));
  const first: Chain = { functions: [], bytes: 0 };
  return {
    deepest: chains.reduce((most, one) => (one.bytes > most.bytes ? one : most), first),
    longest: chains.reduce((most, one) => (one.functions.length > most.functions.length ? one : most), first),
  };

  function chainsFrom(name: string, above: readonly string[]): readonly Chain[] {
    const found = known.get(name);
    if (found === undefined) throw new Error(`${name} is called and not there`);
    if (above.includes(name)) throw new Error(`${[...above, name].join(" ▸ ")}: calls that come back`);
    const below = [...new Set(found.calls)].flatMap((callee) => chainsFrom(callee, [...above, name]));
    return below.length === 0
      ? [{ functions: [name], bytes: found.frame }]
      : below.map(({ functions: rest, bytes }) => ({ functions: [name, ...rest], bytes: found.frame + bytes }));
  }
}

/** One line per chain that no kernel takes; empty when all is well. */
export function findings(file: string, functions: readonly Function[]): readonly string[] {
  const { deepest, longest } = worst(functions);
  const frames = new Map(functions.map(({ name, frame }) => [name, frame]));
  const shown = (chain: Chain): string => chain.functions.map((name) => `${name} ${frames.get(name)}`).join(" ▸ ");
  return [
    ...(deepest.bytes > most.bytes ? [`${file}: ${deepest.bytes} bytes of stack, and ${most.bytes} are granted: ${shown(deepest)}`] : []),
    ...(longest.functions.length > most.frames ? [`${file}: ${longest.functions.length} frames, and ${most.frames} are granted: ${shown(longest)}`] : []),
  ];
}

function main(args: readonly string[]): number {
  const folder = join(import.meta.dirname, "../build/bpf");
  const objects = readdirSync(folder).filter((name) => name.endsWith(".bpf.o")).sort();
  const all = objects.map((file) => {
    const disassembly = execFileSync("llvm-objdump-16", ["-d", "-r", join(folder, file)], { encoding: "utf8", maxBuffer: 2 ** 28 });
    return { file, functions: functionsOf(disassembly) };
  });
  if (args.includes("--print")) for (const { file, functions } of all) console.log(`${file}: ${worst(functions).deepest.bytes} bytes: ${worst(functions).deepest.functions.join(" ▸ ")}`);
  const found = all.flatMap(({ file, functions }) => findings(file, functions));
  if (objects.length === 0) found.push(`no objects in ${folder}; run \`make bpf\` first`);
  for (const line of found) console.error(line);
  return found.length === 0 ? 0 : 1;
}

if (import.meta.main) process.exitCode = main(process.argv.slice(2));
