// `hawser port`: published ports, as `docker port` would print them if it could see those of a remote driver.
import { InvalidArgumentError, type Command } from "commander";
import type { PortView } from "../../api/client.ts";
import { HawserError } from "../../std/errors.ts";
import { withAgent } from "../agent-socket.ts";
import { CompletingArgument } from "../completing.ts";
import type { CliDependencies } from "../dependencies.ts";
import { examples } from "../help.ts";
import { formatOf, outputOption, printJson } from "../output.ts";
import { styleFor, type Style } from "../style.ts";
import { table } from "../table.ts";

/** What is shown of a port, wherever it comes from. */
type Published = Pick<PortView, "protocol" | "containerPort" | "hostIp" | "hostPort">;

interface PrivatePort {
  readonly port: number;
  readonly protocol: string;
}

export function addPort(program: Command, deps: CliDependencies): void {
  program
    .command("port")
    .summary("published ports, as docker port prints them")
    .description(
      "Without CONTAINER, lists every published port of this node. With one, prints its ports as `docker port` does "
      + "(dockerd itself cannot show the ports of a remote driver).",
    )
    .addArgument(new CompletingArgument("[CONTAINER]", "container name, or the beginning of its id", "containers"))
    .argument("[PORT]", "only this port of the container: 80, 53/udp (default protocol: tcp)", parsePrivatePort)
    .addOption(outputOption())
    .addHelpText("after", examples([
      ["hawser port", "every published port"],
      ["hawser port web", "80/tcp -> 0.0.0.0:8080"],
      ["hawser port web 80", "0.0.0.0:8080"],
    ]))
    .action(async (container: string | undefined, only: PrivatePort | undefined, _options: unknown, command: Command) => {
      const all = await withAgent(command, deps, (agent) => agent.ports(container));
      const ports = sorted(all).filter((each) => only === undefined || (each.containerPort === only.port && each.protocol === only.protocol));
      if (only !== undefined && ports.length === 0) {
        throw new HawserError("NOT_FOUND", `port ${only.port}/${only.protocol} of container "${container}" is not published`);
      }
      if (formatOf(command) === "json") printJson(deps, ports);
      else if (container === undefined) deps.stdout.write(portTable(ports, styleFor(deps)));
      else deps.stdout.write((only === undefined ? portLines(ports) : ports.map(hostSide)).map((line) => `${line}\n`).join(""));
    });
}

/** `80/tcp -> 0.0.0.0:8080`, `80/tcp -> [::]:8080`. */
export function portLines(ports: readonly Published[]): readonly string[] {
  return sorted(ports).map((port) => `${port.containerPort}/${port.protocol} -> ${hostSide(port)}`);
}

export function portTable(ports: readonly PortView[], style: Style): string {
  return table<PortView>([
    { title: "CONTAINER", value: (row) => row.container || (row.containerId || row.endpoint).slice(0, 12) },
    { title: "NETWORK", value: (row) => row.network },
    { title: "PORT", value: (row) => `${row.containerPort}/${row.protocol}` },
    { title: "PUBLISHED ON", value: hostSide },
  ], ports, style.dim);
}

function hostSide(port: Published): string {
  return port.hostIp.includes(":") ? `[${port.hostIp}]:${port.hostPort}` : `${port.hostIp}:${port.hostPort}`;
}

function sorted<P extends Published & { readonly container?: string }>(ports: readonly P[]): readonly P[] {
  return ports.toSorted((a, b) =>
    (a.container ?? "").localeCompare(b.container ?? "") || a.containerPort - b.containerPort || a.protocol.localeCompare(b.protocol)
    || Number(a.hostIp.includes(":")) - Number(b.hostIp.includes(":")) || a.hostPort - b.hostPort);
}

function parsePrivatePort(text: string): PrivatePort {
  const match = /^(\d{1,5})(?:\/(tcp|udp|sctp))?$/.exec(text);
  const port = Number(match?.[1]);
  if (!match || port < 1 || port > 65_535) throw new InvalidArgumentError("Expected a port such as 80 or 53/udp.");
  return { port, protocol: match[2] ?? "tcp" };
}
