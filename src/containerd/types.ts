// What the door knows of containerd's containers, and what it is told of their network namespaces.
import type { Container } from "./client.ts";
import type { ImageLabels } from "./image.ts";

/** A device of a container's namespace. */
export interface NamespaceDevice {
  readonly name: string;
  readonly index: number;
  readonly mac: string;
  readonly kind: string;
  /** The veth's other end, where that is on this host. */
  readonly host: { readonly name: string; readonly index: number } | null;
  /** Global ones, `address/length`. */
  readonly addresses: readonly string[];
}

export interface NamespaceView {
  readonly id: string;
  /** Whether it is the host's. */
  readonly own: boolean;
  readonly devices: readonly NamespaceDevice[];
}

/** Looks into the namespaces of these files; null: it is gone. */
export type InspectNamespaces = (paths: readonly string[]) => Promise<readonly (NamespaceView | null)[]>;

export interface Task {
  readonly pid: number;
  /** Before that its network is being made. */
  readonly started: boolean;
  /** When it was first heard of, in milliseconds since the epoch. */
  readonly since: number;
}

export interface Entry {
  readonly namespace: string;
  readonly id: string;
  /** undefined: not listed yet, or Docker's. */
  readonly container: Container | undefined;
  readonly image: ImageLabels | undefined;
  /** undefined: it does not run. */
  readonly task: Task | undefined;
}
