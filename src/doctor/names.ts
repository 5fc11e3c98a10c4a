// Checks whether questions for names of other nodes pass our programs: Docker's resolver decides whom it asks, and from where.
import { type Check, type Finding, type Host, ok, warn } from "./types.ts";

const daemonFile = "/etc/docker/daemon.json";
const hostFile = "/etc/resolv.conf";
/** Docker reads it instead when the other one names systemd-resolved alone, as 127.0.0.53. */
const resolvedFile = "/run/systemd/resolve/resolv.conf";

interface Servers {
  readonly file: string;
  readonly addresses: readonly string[];
  readonly optionsFile: string;
  readonly options: readonly string[];
}

/** From this version on Docker asks every server that it has from the host's resolv.conf as it does loopback ones (its source; not measured). */
const asksFromHost = 26;

/**
 * A loopback server of the host's is asked from the host's own namespace, where no program of ours is on the way; one that is named to
 * Docker is asked from the container's, and stays in it.
 */
export const nameServers: Check = async ({ host, settings }) => {
  if (!settings.docker.enabled) return [];
  const { file, addresses, options, optionsFile } = await serversOf(host);
  const version = await dockerVersion(host, settings.docker.socket);
  const [first] = addresses;
  const findings: Finding[] = [];
  if (first !== undefined && isLoopback(first)) {
    findings.push(warn(
      "name servers",
      `${file} names ${first} first: containers' questions for names of other nodes do not leave the container, and find none of them`,
      `write "dns": ["ADDRESS"] to ${daemonFile}, a server that is no loopback address, and restart dockerd`,
    ));
  }
  if (findings.length === 0 && file !== daemonFile && Number(version?.split(".")[0]) >= asksFromHost) {
    findings.push(warn(
      "name servers",
      `Docker ${version} asks the servers of ${file} from the host's own namespace: containers' questions for names of other nodes find none of them`,
      `write "dns": ["${first ?? "ADDRESS"}"] to ${daemonFile} and restart dockerd: what is named there is asked from the container`,
    ));
  }
  // Even ndots:0, which is what Docker itself gives to containers.
  const dots = options.find((option) => option.startsWith("ndots:"));
  if (dots !== undefined) {
    findings.push(warn(
      "name servers",
      `${optionsFile} says ${dots}, and then Docker asks nobody for a name without a dot: containers of other nodes are found as NAME.NETWORK only`,
      `take ndots out of ${optionsFile} and start the containers anew, or ask for NAME.NETWORK`,
    ));
  }
  if (findings.length > 0) return findings;
  return [ok("name servers", first === undefined ? `${file} names none; Docker takes public ones, and names of other nodes are answered on the way to them` : `Docker asks ${first} (${file}); names of other nodes are answered on the way`)];
};

async function serversOf(host: Host): Promise<Servers> {
  const plain = parseResolvConf(hostFile, await host.read(hostFile));
  const behind = plain.addresses.length === 1 && plain.addresses[0] === "127.0.0.53" ? await host.read(resolvedFile) : undefined;
  const { addresses, options, file } = behind === undefined ? plain : parseResolvConf(resolvedFile, behind);
  const { dns, "dns-opts": given } = await daemonSettings(host);
  return {
    file: isTexts(dns) ? daemonFile : file,
    addresses: isTexts(dns) ? dns : addresses,
    optionsFile: isTexts(given) ? daemonFile : file,
    options: isTexts(given) ? given : options,
  };
}

/** undefined: it does not answer. */
async function dockerVersion(host: Host, socket: string): Promise<string | undefined> {
  const answer = await host.getJson(socket, "/version").catch(() => undefined);
  return typeof answer === "object" && answer !== null && "Version" in answer ? String(answer.Version) : undefined;
}

function parseResolvConf(file: string, text = ""): Servers {
  const lines = text.split("\n").map((line) => line.trim().split(/\s+/));
  return {
    file,
    optionsFile: file,
    addresses: lines.flatMap(([word, address]) => (word === "nameserver" && address !== undefined ? [address] : [])),
    options: lines.flatMap(([word, ...rest]) => (word === "options" ? rest : [])),
  };
}

async function daemonSettings(host: Host): Promise<Readonly<Record<string, unknown>>> {
  try {
    const settings: unknown = JSON.parse(await host.read(daemonFile) ?? "{}");
    return typeof settings === "object" && settings !== null ? { ...settings } : {};
  } catch {
    return {}; // dockerd would not have started with it
  }
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === "string");
}

function isLoopback(address: string): boolean {
  return address.startsWith("127.") || address === "::1";
}
