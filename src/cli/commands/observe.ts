// `hawser observe`: flows as they are judged: dropped, audited and newly opened ones.
import { InvalidArgumentError, Option, type Command } from "commander";
import type { ApiClient, Flow, FlowFilter, GetFlowsRequest, GetFlowsResponse } from "../../api/client.ts";
import { withAgent } from "../agent-socket.ts";
import { CompletingOption } from "../completing.ts";
import type { CliDependencies } from "../dependencies.ts";
import { nobodys } from "../flow-ends.ts";
import { examples } from "../help.ts";
import { formatOf, outputOption, type Format } from "../output.ts";
import { hasColours, styleFor, type Style } from "../style.ts";
import { table, type Column } from "../table.ts";

interface Flags {
  readonly last?: number;
  readonly follow?: boolean;
  readonly verdict?: readonly VerdictName[];
  readonly from?: string;
  readonly to?: string;
  readonly with?: string;
  readonly since?: string;
}

/** Hubble's numbers. */
const verdicts = { FORWARDED: 1, DROPPED: 2, AUDIT: 4 } as const;
type VerdictName = keyof typeof verdicts;

const usualLast = 20;

export function addObserve(program: Command, deps: CliDependencies): void {
  const who = "container name or id, network/name, address, CIDR, label(k=v), host or world";
  program
    .command("observe")
    .summary("flows: what passes and what is refused, and why")
    .description(
      "Shows packets that policy or the datapath dropped, that an audit rule reports, and the first one of each flow that passes; each with both ends "
      + `and the deciding rule. The newest ${usualLast} unless said otherwise; with --follow, those that come from now on.`,
    )
    .option("-n, --last <count>", "so many of the newest that match; 0: all that are remembered", parseCount)
    .option("-f, --follow", "go on with those that come")
    .addOption(new Option("--verdict <verdict>", "only these: forwarded, dropped, audit; several separated by commas").argParser(parseVerdicts))
    .addOption(new CompletingOption("--from <who>", `only from: ${who}`, "peers"))
    .addOption(new CompletingOption("--to <who>", "only to, likewise", "peers"))
    .addOption(new CompletingOption("--with <who>", "only with, at either end", "peers"))
    .addOption(new Option("--since <time>", "only later than: 30s, 5m, 2h, 1d ago, or a time such as 2026-01-02T03:04:05Z").argParser(parseSince))
    .addOption(outputOption("table", "json", "jsonl"))
    .addHelpText("after", examples([
      ["hawser observe --verdict dropped", "what was refused lately"],
      ["hawser observe --follow --to shop/db", "who comes to the database"],
      ["hawser observe --since 10m -o jsonl | jq -c .flow.hawser", "for programs: Hubble's GetFlowsResponse, one a line"],
    ]))
    .action(async (flags: Flags, command: Command) => {
      const request = requestOf(flags, deps.now());
      await withAgent(command, deps, async (agent) => {
        const words = [flags.from, flags.to, flags.with].filter((word) => word !== undefined);
        for (const warning of await nobodys(words, agent)) deps.stderr.write(`hawser: warning: ${warning}\n`);
        await show(deps, agent, request, formatOf(command));
      });
    });
}

function requestOf(flags: Flags, now: number): Partial<GetFlowsRequest> {
  const since = flags.since === undefined ? undefined : timeOf(flags.since, now);
  const number = flags.last ?? (flags.follow === true || since !== undefined ? 0 : usualLast);
  const filter = {
    verdict: (flags.verdict ?? []).map((name) => verdicts[name]), hawserFrom: flags.from ?? "", hawserTo: flags.to ?? "", hawserWith: flags.with ?? "",
  };
  return {
    number: BigInt(number),
    follow: flags.follow === true,
    since: since === undefined ? undefined : { seconds: BigInt(Math.floor(since / 1000)), nanos: (since % 1000) * 1_000_000 },
    whitelist: [{ ...emptyFilter, ...filter }],
  };
}

/** Streams what can be streamed; a table that ends needs all rows to know its widths. */
async function show(deps: CliDependencies, agent: ApiClient, request: Partial<GetFlowsRequest>, format: Format): Promise<void> {
  const { flowJson } = await import("../flow-json.ts");
  const style = styleFor(deps);
  const flows = agent.flows(request);
  if (format === "table" && request.follow !== true) {
    const rows: Flow[] = [];
    for await (const { flow } of flows) if (flow !== undefined) rows.push(flow);
    deps.stdout.write(table(columnsFor(style), rows, style.dim));
    return;
  }
  if (format === "table") return follow(deps, flows, style);
  let count = 0;
  for await (const response of flows) {
    const line = JSON.stringify(flowJson(response));
    deps.stdout.write(format === "jsonl" ? `${line}\n` : `${count === 0 ? "[\n" : ",\n"}  ${line}`);
    count++;
  }
  if (format === "json") deps.stdout.write(count === 0 ? "[]\n" : "\n]\n");
}

/** Columns that grow: a row that has come is printed, whatever the later ones will be. */
async function follow(deps: CliDependencies, flows: AsyncIterable<GetFlowsResponse>, style: Style): Promise<void> {
  const columns = columnsFor(style);
  const widths = [24, 9, 20, 20, 8];
  const line = (cells: readonly string[], paint: (i: number) => ((text: string) => string) | undefined): string =>
    `${cells.map((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
      const shown = paint(i)?.(cell) ?? cell;
      return i === cells.length - 1 ? shown : shown + " ".repeat((widths[i] ?? 0) - cell.length);
    }).join("   ").trimEnd()}\n`;
  if (hasColours(deps) || deps.isTTY) deps.stdout.write(line(columns.map(({ title }) => title), () => style.dim));
  for await (const { flow } of flows) {
    if (flow !== undefined) deps.stdout.write(line(columns.map(({ value }) => String(value(flow)) || "-"), (i) => columns[i]?.paint?.(flow)));
  }
}

function columnsFor(style: Style): readonly Column<Flow>[] {
  return [
    { title: "TIME", value: ({ time }) => (time === undefined ? "" : new Date(Number(time.seconds) * 1000 + Math.floor(time.nanos / 1_000_000)).toISOString()) },
    { title: "VERDICT", value: verdictOf, paint: (flow) => ({ FORWARDED: style.green, DROPPED: style.red, AUDIT: style.yellow })[verdictOf(flow)] },
    { title: "FROM", value: (flow) => endText(flow.source, flow.IP?.source) },
    { title: "TO", value: (flow) => endText(flow.destination, flow.IP?.destination) },
    { title: "PORT", value: portOf },
    { title: "WHY", value: whyOf },
  ];
}

function verdictOf({ verdict }: Flow): VerdictName {
  return verdict === verdicts.FORWARDED ? "FORWARDED" : verdict === verdicts.AUDIT ? "AUDIT" : "DROPPED";
}

function endText(end: Flow["source"], address: string | undefined): string {
  if (end === undefined || end.podName === "") return address ?? "";
  return end.namespace === "" ? end.podName : `${end.namespace}/${end.podName}`;
}

/** `5432/tcp`, `icmp(8/0)`. */
function portOf({ l4, hawser }: Flow): string {
  const [name, of] = Object.entries(l4 ?? {}).find(([, part]) => part !== undefined) ?? [];
  if (name === undefined || of === undefined) return hawser === undefined || hawser.protocol === 0 ? "" : `protocol ${hawser.protocol}`;
  if ("destinationPort" in of) return `${of.destinationPort}/${name.toLowerCase()}`;
  return `${name === "ICMPv4" ? "icmp" : "icmpv6"}(${of.type}/${of.code})`;
}

/** The reason, then the rule and where it stands. */
function whyOf({ hawser }: Flow): string {
  if (hawser === undefined) return "";
  const place = hawser.file === "" ? "" : ` (${hawser.file}${hawser.line === 0 ? "" : `:${hawser.line}`})`;
  return [hawser.reason, `${hawser.rule}${place}`].filter((part) => part !== "").join("  ");
}

const emptyFilter: FlowFilter = {
  sourceIp: [], sourcePod: [], destinationIp: [], destinationPod: [], verdict: [], sourceLabel: [], destinationLabel: [], protocol: [], sourcePort: [],
  destinationPort: [], sourceIdentity: [], destinationIdentity: [], ipVersion: [], trafficDirection: [], sourceFqdn: [], destinationFqdn: [], httpStatusCode: [],
  reply: [], sourceService: [], destinationService: [], dnsQuery: [], httpMethod: [], httpPath: [], tcpFlags: [], nodeName: [], traceId: [], uuid: [],
  hawserFrom: "", hawserTo: "", hawserWith: "",
};

function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("Expected a whole number, 0 or more.");
  return Number(text);
}

function parseVerdicts(text: string, before: readonly VerdictName[] = []): readonly VerdictName[] {
  const names = text.split(",").map((word) => {
    const name = (Object.keys(verdicts) as VerdictName[]).find((each) => each === word.trim().toUpperCase());
    if (name === undefined) throw new InvalidArgumentError("Expected forwarded, dropped or audit.");
    return name;
  });
  return [...before, ...names];
}

const units: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function parseSince(text: string): string {
  if (!Number.isFinite(timeOf(text, 0))) throw new InvalidArgumentError("Expected 30s, 5m, 2h, 1d, or a time such as 2026-01-02T03:04:05Z.");
  return text;
}

/** Milliseconds since the epoch; NaN when the text is no time. */
function timeOf(text: string, now: number): number {
  const [, count, unit = ""] = /^(\d{1,6}(?:\.\d+)?)([smhd])$/.exec(text) ?? [];
  if (count !== undefined) return Math.max(0, Math.floor(now - Number(count) * (units[unit] ?? 0)));
  return /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
}
