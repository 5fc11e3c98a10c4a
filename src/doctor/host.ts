// The real host, read with node alone: no addon, so that the doctor works before anything is built.
import { execFile } from "node:child_process";
import { access, readdir, readFile } from "node:fs/promises";
import { get } from "node:http";
import { connect } from "node:net";
import { arch, release } from "node:os";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import type { Host } from "./types.ts";

export const realHost: Omit<Host, "ipsec" | "contested"> = {
  read: (path) => readFile(path, "utf8").catch(() => undefined),
  readCompressed: async (path) => {
    const bytes = await readFile(path).catch(() => undefined);
    return bytes && promisify(gunzip)(bytes).then((text) => text.toString("utf8"), () => undefined);
  },
  list: (path) => readdir(path).catch(() => []),
  exists: (path) => access(path).then(() => true, () => false),
  run: (program, ...args) =>
    promisify(execFile)(program, args, { timeout: 3000, encoding: "utf8", env: { ...process.env, LC_ALL: "C", PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` } })
      .then((result) => result.stdout, () => undefined),
  accepts: (socket) => new Promise((resolve) => {
    const connection = connect(socket);
    const answer = (accepted: boolean): void => {
      connection.destroy();
      resolve(accepted);
    };
    connection.setTimeout(2000, () => answer(false));
    connection.once("connect", () => answer(true));
    connection.once("error", () => answer(false));
  }),
  getJson: (socketPath, path) => new Promise((resolve, reject) => {
    const request = get({ socketPath, path, timeout: 3000, headers: { host: "localhost" } }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        try {
          resolve(JSON.parse(Buffer.concat(chunks).toString("utf8")));
        } catch (error) {
          reject(error);
        }
      });
    });
    request.on("timeout", () => request.destroy(new Error("no answer within 3 s")));
    request.on("error", reject);
  }),
  kernel: release(),
  node: process.versions.node,
  arch: arch(),
};
