// Which agent is meant, and a connection to it for as long as a command needs one.
import type { Command } from "commander";
import type { ApiClient } from "../api/client.ts";
import type { CliDependencies } from "./dependencies.ts";

export const defaultSocket = "/run/hawser/hawser.sock";

/** `--socket`, HAWSER_SOCKET, or undefined when neither is given. */
export function chosenSocket(command: Command, deps: CliDependencies): string | undefined {
  const given = command.optsWithGlobals<{ socket?: string }>().socket ?? deps.env["HAWSER_SOCKET"];
  return given === "" ? undefined : given;
}

export async function withAgent<T>(command: Command, deps: CliDependencies, use: (agent: ApiClient) => Promise<T>): Promise<T> {
  using agent = await deps.connect(chosenSocket(command, deps) ?? defaultSocket);
  return await use(agent);
}
