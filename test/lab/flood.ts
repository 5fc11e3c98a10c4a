// Beginnings of many TCP flows that nobody goes on with, from clients beyond a router that are not there.
import type { Place } from "./place.ts";
import { run } from "./run.ts";

const source = new URL("flood.c", import.meta.url).pathname;

export interface FloodPlan {
  /** What `buildFlood` returned. */
  readonly program: string;
  readonly flows: number;
  /** The first client's address; its last 16 bits count up. */
  readonly first: string;
  readonly address: string;
  readonly port: number;
}

/** Compiles `DIRECTORY/flood`. */
export async function buildFlood(directory: string): Promise<string> {
  const program = `${directory}/flood`;
  await run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, source]);
  return program;
}

/** Sends them as fast as it can. Who answers needs a route to the clients. */
export async function flood(from: Place, { program, flows, first, address, port }: FloodPlan): Promise<void> {
  await from.run([program, String(flows), first, address, String(port)]);
}
