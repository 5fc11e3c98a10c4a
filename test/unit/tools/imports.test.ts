// Who may import whom holds for the whole house, and the checker finds what breaks it.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import test from "ava";
import { forbiddenImports, importsOf } from "../../../tools/check-imports.ts";
import { scratchFolder } from "../../scratch.ts";

const source = join(import.meta.dirname, "../../../src");

/** A house with these files, for the time of `look`. */
function inHouse(files: Readonly<Record<string, string>>, look: (folder: string) => void): void {
  const folder = scratchFolder("house");
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
    look(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("every import in the house is allowed", (t) => {
  t.deepEqual(forbiddenImports(source), []);
});

test("a model that reads a file is found, and told why", (t) => {
  inHouse({ "network/join.ts": 'import { readFileSync } from "node:fs";\n' }, (folder) => {
    t.deepEqual(forbiddenImports(folder), [
      "src/network/join.ts imports node:fs: network may not, because a model is pure: no node:*, no clock but the one passed in",
    ]);
  });
});

test("R92: a door that takes another door's Docker client is found", (t) => {
  inHouse({ "libnetwork/join.ts": 'import { inspect } from "../docker/client.ts";\n', "libnetwork/raw.ts": 'import Docker from "dockerode";\n' }, (folder) => {
    const found = forbiddenImports(folder);
    t.is(found.length, 2);
    t.regex(found[0] ?? "", /^src\/libnetwork\/join\.ts imports docker\/client\.ts: .* never imports another door$/);
    t.regex(found[1] ?? "", /^src\/libnetwork\/raw\.ts imports dockerode: /);
  });
});

test("types may go where values may not", (t) => {
  inHouse(
    {
      "engine/a.ts": 'import type { Datapath } from "../datapath/types.ts";\nimport { type Store } from "../store/store.ts";\n',
      "engine/b.ts": 'import { openDatapath } from "../datapath/bootstrap.ts";\n',
      "engine/c.ts": 'import { type Datapath, openDatapath } from "../datapath/bootstrap.ts";\n',
    },
    (folder) => t.deepEqual(forbiddenImports(folder).map((line) => line.split(" ")[0]), ["src/engine/b.ts", "src/engine/c.ts"]),
  );
});

test("a new room and a file in no room must be entered in the table", (t) => {
  inHouse({ "attic/box.ts": 'import "../std/ip.ts";\n', "helper.ts": 'import "node:fs";\n', "main.ts": 'import "./kernel/index.ts";\n' }, (folder) => {
    t.deepEqual(forbiddenImports(folder), [
      "src/attic/box.ts imports ../std/ip.ts: the room attic is not in tools/check-imports.ts",
      "src/helper.ts: only main.ts lives outside a room",
    ]);
  });
});

test("every way to write an import is seen, and comments are not", (t) => {
  const text = [
    'import a, {',
    '  b,',
    '} from "./one.ts";',
    'import type { C } from "./two.ts";',
    'export * from "./three.ts";',
    'export type { D } from "./four.ts";',
    'import "./five.ts";',
    'const six = await import("./six.ts");',
    '// import x from "./comment.ts";',
    '/* import y from "./block.ts"; */',
    'export const text = "from";',
  ].join("\n");
  t.deepEqual(importsOf("std/x.ts", text).map(({ specifier, typeOnly }) => `${specifier}${typeOnly ? " type" : ""}`), [
    "./one.ts", "./two.ts type", "./three.ts", "./four.ts type", "./five.ts", "./six.ts",
  ]);
});
