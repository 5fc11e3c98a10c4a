// Keeps what no file may contain, and how sources look: no machine's paths, no registry's host, no unfinished work, no long file.
import { readdirSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";

interface Rule {
  readonly pattern: RegExp;
  readonly because: string;
}

// A class of one letter keeps each pattern from matching the line that it is written on.
const everywhere: readonly Rule[] = [
  {
    pattern: /\b(?:registry[\w-]*|deb|security|snapshot|archive)\.(?:npmj[s]|yarnpk[g]|debia[n]|ubunt[u]|docke[r])\.\w+|\b(?:ghc[r]|qua[y]|gc[r])\.io\b|\bprox[y]\.golang\.org/,
    because: "which registry a machine uses is that machine's own business",
  },
  { pattern: /(?<![\w.})\]/-])\/(?:wor[k]|hom[e]\/\w+)\/|(?<![\w}])\/tm[p]\/(?:e|eng)\d+\b/, because: "it is a path of one machine only" },
  {
    pattern: /\b(?:clau[d]e|anthropi[c]|chatgp[t]|opena[i]|copilo[t]|language mode[l]|this sessio[n]|engineer \[?\d+)\b/i,
    because: "a file speaks of Hawser, not of how it was written",
  },
  { pattern: /\b(?:TOD[O]|FIXM[E]|XX[X])\b/, because: "work is finished, or written into an issue" },
];

const inTypeScript: readonly Rule[] = [
  { pattern: /^(?!\s*(?:\/\/|\*|\/\*)).*?(?:[\w)\]?]:\s*|<\s*|\|\s*|\bas\s+)any\b(?!\w| \w)/, because: "it turns the checks off: take unknown, and a decoder makes it a type" },
  { pattern: /\btest\.(?:skip|todo|failing|only)\b/, because: "a test that does not run proves nothing" },
];

/** Lines. C says the same with more of them. */
const longest: Readonly<Record<string, number>> = { ".ts": 350, ".c": 400, ".h": 400, ".cc": 400 };
const left = new Set(["node_modules", "build", ".git"]);
const bytes = new Set([".node", ".o", ".png", ".gz", ".db"]);

/** One line per finding, `file:line: what, because why`; empty when all is well. */
export function findings(root: string): readonly string[] {
  return filesBelow(root, "").flatMap((file) => findingsIn(file, readFileSync(join(root, file), "utf8")));
}

export function findingsIn(file: string, text: string): readonly string[] {
  const lines = text.split("\n");
  const generated = /\bgenerated\b|-lock\.json$/.test(file);
  const type = extname(file);
  const rules = [...everywhere, ...(type === ".ts" && !generated ? inTypeScript : [])];
  const found = lines.flatMap((line, i) => rules.flatMap(({ pattern, because }) => {
    const match = pattern.exec(line);
    return match === null ? [] : [`${file}:${i + 1}: "${match[0].trim().slice(-60)}": ${because}`];
  }));
  const most = longest[type];
  if (generated || most === undefined) return found;
  if (lines.length - 1 > most) found.push(`${file}: ${lines.length - 1} lines; ${most} is the most that stays readable`);
  if (type === ".ts" && !/^(?:#!.*\n)?(?:\/\/ |\/\*\*? )\S/.test(text)) found.push(`${file}:1: a file opens with one sentence on its job`);
  return found;
}

function filesBelow(root: string, folder: string): readonly string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return left.has(entry.name) ? [] : filesBelow(root, path);
    return entry.isFile() && !bytes.has(extname(entry.name)) ? [path] : [];
  });
}

if (import.meta.main) {
  const found = findings(join(import.meta.dirname, ".."));
  for (const line of found) process.stderr.write(`${line}\n`);
  if (found.length > 0) process.exitCode = 1;
}
