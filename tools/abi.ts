// Generates src/abi/generated.ts from the BTF of every compiled object; with --check it only says whether that file is stale.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { collect } from "./abi/collect.ts";
import { merge } from "./abi/merge.ts";
import type { ObjectAbi } from "./abi/merge.ts";
import { parseBtf } from "./abi/btf.ts";
import { render } from "./abi/render.ts";
import { sectionOf } from "./abi/elf.ts";

/** @throws Error naming the file that has no BTF or whose BTF cannot be a shared word. */
export function readObject(path: string, file: string): ObjectAbi {
  const section = sectionOf(readFileSync(path), ".BTF");
  if (!section) throw new Error(`${file}: no .BTF section; compile it with -g`);
  try {
    return { file, abi: collect(parseBtf(section)) };
  } catch (error) {
    throw new Error(`${file}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

/** The text of src/abi/generated.ts for the objects in a folder. */
export function generate(folder: string): string {
  const files = readdirSync(folder).filter((name) => name.endsWith(".bpf.o")).sort();
  if (files.length === 0) throw new Error(`no objects in ${folder}; run \`make bpf\` first`);
  return render(merge(files.map((name) => readObject(join(folder, name), name))));
}

function main(args: readonly string[]): number {
  const root = join(import.meta.dirname, "..");
  const target = join(root, "src/abi/generated.ts");
  try {
    const text = generate(join(root, "build/bpf"));
    if (!args.includes("--check")) {
      writeFileSync(target, text);
    } else if (readFileSync(target, "utf8") !== text) {
      console.error("src/abi/generated.ts is stale: run `npm run abi` and commit what it writes");
      return 1;
    }
    return 0;
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    return 1;
  }
}

if (import.meta.main) process.exitCode = main(process.argv.slice(2));
