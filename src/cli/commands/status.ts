// `hawser status`: is it well, and if not, what to do.
import type { Command } from "commander";
import type { NodeView, PartStatus, Status } from "../../api/client.ts";
import { withAgent } from "../agent-socket.ts";
import type { CliDependencies } from "../dependencies.ts";
import { Ended } from "../exit.ts";
import { examples } from "../help.ts";
import { formatOf, outputOption, printJson } from "../output.ts";
import { styleFor, type Paint, type Style } from "../style.ts";
import { duration, many, table, wrap } from "../table.ts";
import { nodePaint, rttText, seenText } from "./node.ts";

export function addStatus(program: Command, deps: CliDependencies): void {
  program
    .command("status")
    .summary("health of every part of the agent")
    .description("Shows the health of every part, what is attached where, and what packets were dropped for. Exits 1 when the agent is not ready.")
    .addOption(outputOption())
    .addHelpText("after", examples([
      ["hawser status", "for people"],
      ["hawser status -o json | jq .problems", "for programs: ready, problems, parts, counters, …"],
    ]))
    .action(async (_options: unknown, command: Command) => {
      const status = await withAgent(command, deps, (agent) => agent.status());
      if (formatOf(command) === "json") printJson(deps, status);
      else deps.stdout.write(statusText(status, styleFor(deps), deps.now(), Math.max(40, deps.columns ?? 120)));
      if (!status.ready) throw new Ended(1);
    });
}

export function statusText(status: Status, style: Style, now: number, width: number): string {
  const verdict = status.ready ? style.green("ready") : style.red("not ready");
  const sections = [
    `${style.bold("hawser")} ${status.version} on ${style.bold(status.node)}: ${verdict}, up ${duration(now - status.startedAt)}\n`,
    problems(status, style, width),
    status.parts.map((part) => partLine(part, status, style, width)).join(""),
    peers(status, style, now),
    kernel(status, style, width),
    counters(status, style),
  ];
  return sections.filter((section) => section !== "").join("\n");
}

function problems(status: Status, style: Style, width: number): string {
  return status.problems
    .map((problem) => wrap(problem, width - 4).map((line, i) => `${i === 0 ? style.red("  ✗ ") : "    "}${line}\n`).join(""))
    .join("");
}

const marks: Readonly<Record<PartStatus["state"], string>> = { ok: "✓", degraded: "!", failed: "✗", off: "-" };

function partLine(part: PartStatus, status: Status, style: Style, width: number): string {
  const paints: Readonly<Record<PartStatus["state"], Paint>> = { ok: style.green, degraded: style.yellow, failed: style.red, off: style.dim };
  const names = Math.max(...status.parts.map((each) => each.part.length));
  // What stands among the problems is not said twice.
  const said = part.detail !== "" && status.problems.includes(`${part.part}: ${part.detail}`) ? "see above" : part.detail;
  const [first = "", ...rest] = wrap(part.state === "off" && said === "" ? "off" : said, Math.max(40, width - names - 7));
  const shown = (text: string): string => (part.state === "off" ? style.dim(text) : text);
  const head = `  ${paints[part.state](marks[part.state])} ${part.part.padEnd(names)}   ${shown(first)}`.trimEnd();
  return `${[head, ...rest.map((line) => " ".repeat(names + 7) + shown(line))].join("\n")}\n`;
}

/** Whether each other node answers. */
function peers({ peers: others }: Status, style: Style, now: number): string {
  if (others.length === 0) return "";
  return table<NodeView>([
    { title: "PEER", value: (row) => row.name },
    { title: "ADDRESS", value: (row) => row.address },
    { title: "STATE", value: (row) => row.state, paint: (row) => nodePaint(row, style) },
    { title: "RTT", value: rttText, right: true },
    { title: "LAST SEEN", value: (row) => seenText(row, now) },
  ], others, style.dim);
}

function kernel(status: Status, style: Style, width: number): string {
  const features = Object.entries(status.kernel.features)
    .map(([name, used]) => (used ? style.green(`✓ ${name}`) : style.dim(`- ${name}`)))
    .join("  ");
  const { networks, endpoints, ports, pools } = status.counts;
  const lines: readonly (readonly [string, string])[] = [
    ["kernel", [status.kernel.release, features].filter(Boolean).join("  ")],
    ["uplinks", status.kernel.uplinks.join(", ") || "none"],
    ...programs(status).map((text, i): readonly [string, string] => [i === 0 ? "programs" : "", text]),
    ["holds", [many(networks, "network"), many(endpoints, "endpoint"), many(ports, "published port"), many(pools, "pool")].join(", ")],
  ];
  return lines
    .map(([name, text]) => {
      const wrapped = text.includes("\x1b") ? [text] : wrap(text, Math.max(40, width - 13));
      return wrapped.map((line, i) => `  ${style.dim((i === 0 ? name : "").padEnd(8))}   ${line}\n`).join("");
    })
    .join("");
}

/** One line for each kind of attachment: a host with a hundred containers has two hundred. */
function programs(status: Status): readonly string[] {
  const kinds = Map.groupBy(status.kernel.programs, (program) => program.mode);
  if (kinds.size === 0) return ["none attached"];
  return [...kinds].map(([mode, ofKind]) => {
    const names = [...Map.groupBy(ofKind, (program) => program.name)].map(([name, all]) => {
      const [only] = all;
      if (mode === "cgroup" || only === undefined) return name;
      return `${name} on ${all.length === 1 ? only.device : `${all.length} devices`} (${only.hook})`;
    });
    return `${mode}: ${names.join(", ")}`;
  });
}

function counters(status: Status, style: Style): string {
  const rows = status.counters
    .filter((counter) => counter.packets > 0n)
    .toSorted((a, b) => (b.packets > a.packets ? 1 : b.packets < a.packets ? -1 : 0));
  if (rows.length === 0) return "";
  return table([
    { title: "DIRECTION", value: (row) => row.direction },
    // As docs/drops.md and the metrics write it.
    { title: "REASON", value: (row) => row.reason.toUpperCase().replaceAll("-", "_") },
    { title: "PACKETS", value: (row) => row.packets.toString(), right: true },
    { title: "BYTES", value: (row) => row.bytes.toString(), right: true },
  ], rows, style.dim);
}
