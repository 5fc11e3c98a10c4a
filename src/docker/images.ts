// The labels that images bring: Docker's lists merge them into their containers' own, and only the own ones count (R88).
import { DockerAbsent } from "./client.ts";
import type { DockerClient, ListedContainer } from "./client.ts";

type Labels = Readonly<Record<string, string>>;

/** What a container has from its image; `unknown` says why that cannot be told. */
export type ImageLabels = { readonly labels: Labels } | { readonly unknown: string };

export interface Images {
  /** @throws DockerAbsent: that Docker is slow says nothing about the image. */
  labelsOf(container: ListedContainer, signal?: AbortSignal): Promise<ImageLabels>;
}

interface Image {
  readonly labels: Labels;
  readonly os: string;
  readonly architecture: string;
}

const remembered = 1024;

/** An image's id is the digest of what it says, so what was read once stays true. The longest unused is forgotten. */
export function createImages(docker: Pick<DockerClient, "image">): Images {
  const known = new Map<string, Image>();
  const asked = new Map<string, Promise<Image | undefined>>();

  const read = async (id: string): Promise<Image | undefined> => {
    const told = await docker.image(id).catch((error: unknown) => {
      if (error instanceof DockerAbsent) throw error;
      return undefined;
    });
    // From 28 on the configuration is missing when the image's content is: then nothing is known.
    if (!told?.Config) return undefined;
    return { labels: told.Config.Labels ?? {}, os: told.Os, architecture: told.Architecture };
  };

  const imageOf = async (id: string): Promise<Image | undefined> => {
    const before = known.get(id);
    if (before) {
      known.delete(id);
      known.set(id, before);
      return before;
    }
    let reading = asked.get(id);
    if (reading === undefined) {
      // Without the asker's signal: others wait for the same answer.
      reading = read(id).finally(() => asked.delete(id));
      asked.set(id, reading);
    }
    const image = await reading;
    if (image) known.set(id, image);
    for (const oldest of known.keys()) {
      if (known.size <= remembered) break;
      known.delete(oldest);
    }
    return image;
  };

  return {
    labelsOf: async ({ ImageID: id, ImageManifestDescriptor: chosen }, signal) => {
      signal?.throwIfAborted();
      const image = id ? await imageOf(id) : undefined;
      if (!image) return { unknown: "its image is gone or cannot be read" };
      const { os = image.os, architecture = image.architecture } = chosen?.platform ?? {};
      // One id may name several platforms' images, each with labels of its own; Docker shows one of them.
      if (os !== image.os || architecture !== image.architecture) return { unknown: `its image is shown for ${image.os}/${image.architecture} and it runs ${os}/${architecture}` };
      return { labels: image.labels };
    },
  };
}

/** Same key and same value: it may come from the image, so it counts as the image's. */
export function ownOf(labels: Labels, image: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([key, value]) => !Object.hasOwn(image, key) || image[key] !== value));
}
