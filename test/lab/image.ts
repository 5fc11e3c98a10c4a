// The one image of the lab: busybox with its applets and a tiny web root, made from Debian's busybox-static without any registry.
import { chmodSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { run } from "./run.ts";

export const image = "hawser/busybox";

/** Writes `DIRECTORY/image.tar` for `docker import`. */
export async function buildImage(directory: string): Promise<string> {
  const tree = `${directory}/image`;
  for (const folder of ["bin", "etc", "proc", "sys", "dev", "root", "www/cgi-bin"]) mkdirSync(`${tree}/${folder}`, { recursive: true });
  mkdirSync(`${tree}/tmp`, { mode: 0o1777 });
  copyFileSync("/bin/busybox", `${tree}/bin/busybox`);
  const { stdout } = await run(["/bin/busybox", "--list"]);
  for (const applet of stdout.split("\n").filter((name) => name !== "" && name !== "busybox")) {
    symlinkSync("busybox", `${tree}/bin/${applet}`);
  }
  writeFileSync(`${tree}/etc/passwd`, "root:x:0:0:root:/root:/bin/sh\n");
  writeFileSync(`${tree}/etc/group`, "root:x:0:\n");
  writeFileSync(`${tree}/www/index.html`, "hello from a container\n");
  // Answers with the address that the server sees.
  writeFileSync(`${tree}/www/cgi-bin/who`, [
    "#!/bin/sh", "a=${REMOTE_ADDR#[}", "a=${a%]}", "echo 'Content-Type: text/plain'", "echo", 'echo "${a#::ffff:}"', "",
  ].join("\n"));
  chmodSync(`${tree}/www/cgi-bin/who`, 0o755);
  const tar = `${directory}/image.tar`;
  await run(["tar", "--owner=0", "--group=0", "-C", tree, "-cf", tar, "."]);
  return tar;
}
