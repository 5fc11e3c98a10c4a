// Which labels a container has only because its image has them: those grant nothing (R88).
import { createHash } from "node:crypto";
import type { ContainerdClient, Container, Image } from "./client.ts";
import type { Timestamp } from "./generated/wellknown.ts";
import { fieldOf, parsed, textOf } from "./json.ts";

/** As in an OCI image's configuration, or Docker's older one. */
interface ImageConfig {
  readonly labels: Readonly<Record<string, string>>;
  /** The chain of its layers, as snapshots name it. */
  readonly chain: string;
}

export type ImageLabels =
  | { readonly known: true; readonly labels: Readonly<Record<string, string>> }
  /** Then nobody can say which labels are the container's own. */
  | { readonly known: false; readonly why: string };

/** Node's words for an architecture → those of image manifests, where the two differ. */
const architectures: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386" };

/**
 * A container's record holds its own labels and its image's in one heap, and names the image only by a name, which may mean another
 * image by now. So what the name means is believed if it has not been touched since, or if the container stands on its layers.
 */
export async function imageLabelsOf(containerd: ContainerdClient, namespace: string, container: Container, signal?: AbortSignal): Promise<ImageLabels> {
  if (container.image === "") return { known: true, labels: {} };
  const image = await containerd.image(namespace, container.image, signal);
  if (image === undefined) return { known: false, why: `its image ${container.image} is gone` };
  const config = await configOf(containerd, namespace, image, signal);
  if (config === undefined) return { known: false, why: `the configuration of its image ${container.image} is not there` };
  if (isLater(image.updatedAt, container.createdAt)) {
    const parent = await containerd.snapshotParent(namespace, container.snapshotter, container.snapshotKey, signal);
    if (parent !== config.chain) return { known: false, why: `its image's name ${container.image} means another image by now` };
  }
  return { known: true, labels: config.labels };
}

/** @returns the labels that are not exactly as in the image. */
export function ownLabels(all: Readonly<Record<string, string>>, image: ImageLabels): Readonly<Record<string, string>> {
  if (!image.known) return {};
  return Object.fromEntries(Object.entries(all).filter(([key, value]) => !Object.hasOwn(image.labels, key) || image.labels[key] !== value));
}

async function configOf(containerd: ContainerdClient, namespace: string, image: Image, signal?: AbortSignal): Promise<ImageConfig | undefined> {
  for (const digest of await manifestsOf(containerd, namespace, image.target?.digest ?? "", signal)) {
    const manifest = await read(containerd, namespace, digest, signal);
    const config = await read(containerd, namespace, textOf(fieldOf(manifest, "config"), "digest"), signal);
    if (config !== undefined) return decodeConfig(config);
  }
  return undefined;
}

/** The image's one manifest, or those of its index, this machine's architecture first: of the others containerd has only the names. */
async function manifestsOf(containerd: ContainerdClient, namespace: string, digest: string, signal?: AbortSignal): Promise<readonly string[]> {
  const target = await read(containerd, namespace, digest, signal);
  const listed = fieldOf(target, "manifests");
  if (!Array.isArray(listed)) return [digest];
  const architecture = architectures[process.arch] ?? process.arch;
  const fits = (entry: unknown): boolean => textOf(fieldOf(entry, "platform"), "architecture") === architecture;
  return [...listed.filter(fits), ...listed.filter((entry) => !fits(entry))].map((entry: unknown) => textOf(entry, "digest"));
}

async function read(containerd: ContainerdClient, namespace: string, digest: string, signal?: AbortSignal): Promise<unknown> {
  if (digest === "") return undefined;
  const bytes = await containerd.content(namespace, digest, signal);
  return bytes === undefined ? undefined : parsed(bytes.toString("utf8"));
}

function decodeConfig(config: unknown): ImageConfig {
  const labels = fieldOf(fieldOf(config, "config"), "Labels");
  const layers = fieldOf(fieldOf(config, "rootfs"), "diff_ids");
  return {
    labels: typeof labels === "object" && labels !== null
      ? Object.fromEntries(Object.entries(labels).filter((entry): entry is [string, string] => typeof entry[1] === "string")) : {},
    chain: chainOf(Array.isArray(layers) ? layers.map(String) : []),
  };
}

/** The OCI image specification's ChainID: each layer's is the hash of the one below and its own. */
export function chainOf(layers: readonly string[]): string {
  const [lowest = "", ...rest] = layers;
  return rest.reduce((below, layer) => `sha256:${createHash("sha256").update(`${below} ${layer}`).digest("hex")}`, lowest);
}

function isLater(a: Timestamp | undefined, b: Timestamp | undefined): boolean {
  if (a === undefined || b === undefined) return true;
  return a.seconds === b.seconds ? a.nanos > b.nanos : a.seconds > b.seconds;
}
