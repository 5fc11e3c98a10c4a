// Generates generated/ beside each proto/ of these rooms with protoc and ts-proto; `--check` only compares.
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const root = join(import.meta.dirname, "..");
/** The agent's own API, and containerd's and etcd's as far as they are called. */
const rooms = ["api", "containerd", "store"];
const digestFile = "source.sha256";

// Erasable syntax only, so that Node runs the output as it is: enums become plain objects.
const options = [
  "outputServices=grpc-js", "esModuleInterop=true", "env=node", "forceLong=bigint", "importSuffix=.ts", "useExactTypes=false",
  "enumsAsLiterals=true", "useDate=false", "outputJsonMethods=false", "outputPartialMethods=false", "annotateFilesWithVersion=false",
].join(",");

for (const room of rooms) keep(join(root, "src", room, "proto"), join(root, "src", room, "generated"), `src/${room}/generated`);

function keep(source: string, target: string, shown: string): void {
  const inputs = filesBelow(source, ".proto");
  const digest = `${inputs.reduce((hash, file) => hash.update(readFileSync(join(source, file))), createHash("sha256").update(options)).digest("hex")}\n`;
  const standing = (file: string): string => readOrEmpty(join(target, file));
  if (!process.argv.includes("--check")) {
    for (const [file, text] of generate(source, inputs)) write(join(target, file), text);
    write(join(target, digestFile), digest);
  } else if (spawnSync("protoc", ["--version"]).status === 0) {
    refuse(shown, generate(source, inputs).filter(([file, text]) => text !== standing(file)).map(([file]) => file));
  } else {
    // The digest tells as much about the .proto files; only a hand-edited output escapes it.
    process.stdout.write("protoc is not installed (protobuf-compiler): comparing the digest of the .proto files only\n");
    refuse(shown, standing(digestFile) === digest ? [] : [digestFile]);
  }
}

function generate(source: string, inputs: readonly string[]): readonly (readonly [file: string, text: string])[] {
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

function refuse(shown: string, stale: readonly string[]): void {
  if (stale.length === 0) return;
  process.stderr.write(`stale: ${stale.map((file) => `${shown}/${file}`).join(", ")}; run: npm run proto\n`);
  process.exitCode = 1;
}

function write(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

function filesBelow(folder: string, suffix: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(suffix)).toSorted();
}
