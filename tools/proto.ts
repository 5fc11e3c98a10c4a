// Generates src/api/generated/ from the API's .proto files with protoc and ts-proto; `--check` only compares.
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const root = join(import.meta.dirname, "..");
const source = join(root, "src/api/proto");
const target = join(root, "src/api/generated");
const digestFile = "source.sha256";

// Erasable syntax only, so that Node runs the output as it is: enums become plain objects.
const options = [
  "outputServices=grpc-js", "esModuleInterop=true", "env=node", "forceLong=bigint", "importSuffix=.ts", "useExactTypes=false",
  "enumsAsLiterals=true", "outputJsonMethods=false", "outputPartialMethods=false", "annotateFilesWithVersion=false",
].join(",");

const inputs = filesBelow(source, ".proto");
const digest = `${inputs.reduce((hash, file) => hash.update(readFileSync(join(source, file))), createHash("sha256").update(options)).digest("hex")}\n`;

if (!process.argv.includes("--check")) {
  for (const [file, text] of generate()) write(file, text);
  write(digestFile, digest);
} else if (spawnSync("protoc", ["--version"]).status === 0) {
  refuse(generate().filter(([file, text]) => text !== readOrEmpty(file)).map(([file]) => file));
} else {
  // The digest tells as much about the .proto files; only a hand-edited output escapes it.
  process.stdout.write("protoc is not installed (protobuf-compiler): comparing the digest of the .proto files only\n");
  refuse(readOrEmpty(digestFile) === digest ? [] : [digestFile]);
}

function generate(): readonly (readonly [file: string, text: string])[] {
  const scratch = mkdtempSync(join(tmpdir(), "hawser-proto-"));
  try {
    execFileSync("protoc", [
      `--plugin=${join(root, "node_modules/.bin/protoc-gen-ts_proto")}`, `--ts_proto_out=${scratch}`, `--ts_proto_opt=${options}`,
      "-I", source, ...inputs.map((file) => join(source, file)),
    ], { stdio: ["ignore", "inherit", "inherit"] });
    return filesBelow(scratch, ".ts").map((file) => [file, readFileSync(join(scratch, file), "utf8")] as const);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

function refuse(stale: readonly string[]): void {
  if (stale.length === 0) return;
  process.stderr.write(`stale: ${stale.map((file) => `src/api/generated/${file}`).join(", ")}; run: npm run proto\n`);
  process.exitCode = 1;
}

function write(file: string, text: string): void {
  mkdirSync(dirname(join(target, file)), { recursive: true });
  writeFileSync(join(target, file), text);
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(join(target, file), "utf8");
  } catch {
    return "";
  }
}

function filesBelow(folder: string, suffix: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(suffix)).toSorted();
}
