// What may come next on a command line: from the command tree, and from the agent for names.
import type { Argument, Command, Option } from "commander";
import type { ApiClient } from "../api/client.ts";
import { defaultSocket } from "./agent-socket.ts";
import { CompletingArgument, CompletingOption, type Completes } from "./completing.ts";
import type { CliDependencies } from "./dependencies.ts";

interface Candidate {
  readonly value: string;
  readonly says: string;
}

/** A shell waits for us at every press of a key. */
const patience = 1500;

/** `words` are those after the program's name, the last one being typed (perhaps ""). Returns the lines for the shell's script. */
export async function complete(program: Command, words: readonly string[], deps: CliDependencies): Promise<string> {
  const joined = joinAssignments(words);
  const current = joined.at(-1) ?? "";
  const place = walk(program, joined.slice(0, -1));
  const socket = place.socket ?? (deps.env["HAWSER_SOCKET"] || defaultSocket);
  const from = (source: Completes | readonly string[]): Promise<readonly Candidate[] | "files"> =>
    typeof source === "string" ? candidatesFor(source, program, place, deps, socket) : Promise.resolve(source.map((value) => ({ value, says: "" })));

  const assignment = /^(--[a-z-]+)=(.*)$/.exec(current);
  const assigned = assignment && findOption(place.command, assignment[1] ?? "");
  if (assigned) return lines(await from(sourceOf(assigned)), assignment[2] ?? "", `${assignment[1]}=`);
  if (place.awaiting) return lines(await from(sourceOf(place.awaiting)), current);
  if (current.startsWith("-") && !place.onlyOperands) return lines(optionsOf(place.command), current);
  if (place.command.commands.length > 0) return place.operands.length > 0 ? "" : lines(commandsOf(place.command), current);
  const argument = argumentAt(place.command, place.operands.length);
  return argument === undefined ? "" : lines(await from(sourceOf(argument)), current);
}

interface Place {
  readonly command: Command;
  readonly operands: readonly string[];
  /** The option whose value is being typed. */
  readonly awaiting: Option | undefined;
  readonly onlyOperands: boolean;
  readonly socket: string | undefined;
}

function walk(program: Command, words: readonly string[]): Place {
  let command = program;
  let awaiting: Option | undefined;
  let onlyOperands = false;
  let socket: string | undefined;
  const operands: string[] = [];
  for (const word of words) {
    if (awaiting) {
      if (awaiting.long === "--socket") socket = word;
      awaiting = undefined;
    } else if (word === "--") {
      onlyOperands = true;
    } else if (word.startsWith("-") && word !== "-" && !onlyOperands) {
      const [name = "", value] = word.split("=", 2);
      const option = findOption(command, name);
      if (option?.long === "--socket") socket = value;
      if (option?.required && value === undefined) awaiting = option;
    } else {
      const next = operands.length === 0 ? command.commands.find((inner) => inner.name() === word || inner.aliases().includes(word)) : undefined;
      if (next) command = next;
      else operands.push(word);
    }
  }
  return { command, operands, awaiting, onlyOperands, socket };
}

/** Bash cuts words at "=": `--output = js` becomes `--output=js` again. */
function joinAssignments(words: readonly string[]): readonly string[] {
  const joined: string[] = [];
  for (const word of words) {
    const last = joined.at(-1) ?? "";
    if (word === "=" && /^--[a-z-]+$/.test(last)) joined[joined.length - 1] = `${last}=`;
    else if (/^--[a-z-]+=$/.test(last)) joined[joined.length - 1] = last + word;
    else joined.push(word);
  }
  // Bash replaces only what follows the "=".
  const cut = /^(--[a-z-]+)=(.*)$/.exec(joined.at(-1) ?? "");
  return words.includes("=") && cut ? [...joined.slice(0, -1), cut[1] ?? "", cut[2] ?? ""] : joined;
}

function findOption(command: Command, name: string): Option | undefined {
  for (let at: Command | null = command; at; at = at.parent) {
    const found = at.options.find((option) => option.long === name || option.short === name);
    if (found) return found;
  }
  return undefined;
}

function optionsOf(command: Command): readonly Candidate[] {
  const all: Option[] = [];
  for (let at: Command | null = command; at; at = at.parent) all.push(...at.options.filter((option) => !option.hidden));
  return [
    ...all.filter((option) => option.long !== "--version" || command.parent === null).map((option) => ({ value: option.long ?? option.short ?? "", says: option.description })),
    { value: "--help", says: "show help" },
  ];
}

function commandsOf(command: Command): readonly Candidate[] {
  return command.commands.map((inner) => ({ value: inner.name(), says: inner.summary() }));
}

function argumentAt(command: Command, index: number): Argument | undefined {
  const all = command.registeredArguments;
  const last = all.at(-1);
  return all[index] ?? (last?.variadic ? last : undefined);
}

function sourceOf(thing: Argument | Option): Completes | readonly string[] {
  if (thing instanceof CompletingArgument || thing instanceof CompletingOption) return thing.completes;
  return thing.argChoices ?? [];
}

async function candidatesFor(
  what: Completes, program: Command, place: Place, deps: CliDependencies, socket: string,
): Promise<readonly Candidate[] | "files"> {
  switch (what) {
    case "files":
      return "files";
    case "commands":
      return commandsOf(walk(program, place.operands).command);
    case "endpoints":
      return ask(deps, socket, async (agent) => (await agent.endpoints()).flatMap((endpoint) => [
        { value: endpoint.name || endpoint.id.slice(0, 12), says: `${endpoint.network} ${endpoint.ipv4}` },
      ]));
    case "containers":
      return ask(deps, socket, async (agent) => (await agent.endpoints()).map((endpoint) => (
        { value: endpoint.name || endpoint.containerId.slice(0, 12), says: endpoint.network })));
    case "peers":
      return ask(deps, socket, async (agent) => [
        ...(await agent.endpoints(true)).filter(({ name }) => name !== "").map(({ name, network, ipv4 }) => ({ value: name, says: `${network} ${ipv4}` })),
        { value: "host", says: "this node" }, { value: "world", says: "everything that is not ours" },
      ]);
    case "policies":
      return ask(deps, socket, async (agent) => (await agent.policies()).map((policy) => ({ value: policy.name, says: policy.source })));
    case "services":
      return ask(deps, socket, async (agent) => (await agent.services()).map((service) => ({ value: service.name, says: service.source })));
    case "networks":
      return ask(deps, socket, async (agent) => (await agent.networks()).map((network) => ({ value: network.name || network.id.slice(0, 12), says: network.ipv4 })));
    case "nodes":
      return ask(deps, socket, async (agent) => (await agent.nodes()).map((node) => ({ value: node.name, says: `${node.address} ${node.state}` })));
    case "maps":
      return ask(deps, socket, async (agent) => (await agent.maps()).map((map) => ({ value: map.name, says: `${map.entries} of ${map.capacity}` })));
  }
}

/** Without an agent, or with a slow one, there is nothing to offer, and a prompt is no place for errors. */
async function ask(deps: CliDependencies, socket: string, query: (agent: ApiClient) => Promise<readonly Candidate[]>): Promise<readonly Candidate[]> {
  try {
    using agent = await deps.connect(socket);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<readonly Candidate[]>((resolve) => {
      timer = setTimeout(() => resolve([]), patience);
    });
    return await Promise.race([query(agent), late]).finally(() => clearTimeout(timer));
  } catch {
    return [];
  }
}

function lines(candidates: readonly Candidate[] | "files", typed: string, prefix = ""): string {
  if (candidates === "files") return ":files\n";
  const unique = new Map(candidates.filter(({ value }) => value !== "" && value.startsWith(typed)).map(({ value, says }) => [value, says]));
  return [...unique].map(([value, says]) => `${prefix}${value}\t${says}\n`).join("");
}
