// Where dockerd finds us: a unix socket of our own, or one that systemd opened before us.
import { once } from "node:events";
import { lstat, mkdir, unlink } from "node:fs/promises";
import type { Server } from "node:net";
import { connect } from "node:net";
import { dirname } from "node:path";
import { HawserError, messageOf } from "../std/errors.ts";

/** Listens on an inherited descriptor. The socket's file is its owner's and stays. */
export async function listenOnDescriptor(server: Server, fd: number): Promise<void> {
  server.listen({ fd });
  await listening(server, `inherited socket ${fd}`);
}

/**
 * Makes the socket with mode 0660, for root and its group only (R81). A file that nobody answers on is a leftover and goes.
 * @throws HawserError ALREADY_EXISTS when somebody does, BAD_CONFIG when the path is something else or cannot be made.
 */
export async function listenOnPath(server: Server, path: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
  } catch (cause) {
    throw new HawserError("BAD_CONFIG", `docker.pluginDirectory: the directory ${dirname(path)} cannot be made`, { cause });
  }
  await removeLeftover(path);
  // bind() happens within listen(), so that the socket never exists with a wider mode.
  const mask = process.umask(0o117);
  try {
    server.listen(path);
  } finally {
    process.umask(mask);
  }
  await listening(server, path);
}

async function listening(server: Server, what: string): Promise<void> {
  try {
    await once(server, "listening");
  } catch (cause) {
    throw new HawserError("BAD_CONFIG", `the plugin socket cannot be opened (${what}): ${messageOf(cause)}`, { cause });
  }
}

async function removeLeftover(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (!found) return;
  if (!found.isSocket()) throw new HawserError("BAD_CONFIG", `${path} exists and is not a socket; move it away or set docker.pluginDirectory`);
  if (await answers(path)) {
    throw new HawserError("ALREADY_EXISTS", `another agent serves ${path}; stop it first, or set docker.pluginDirectory`);
  }
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
}

async function answers(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
