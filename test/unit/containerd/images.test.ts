// Which labels a container has from its image: containerd's record tells only both together (R88).
import test from "ava";
import { openContainerd } from "../../../src/containerd/client.ts";
import type { Container } from "../../../src/containerd/client.ts";
import { chainOf, imageLabelsOf, ownLabels } from "../../../src/containerd/image.ts";
import type { ImageLabels } from "../../../src/containerd/image.ts";
import { container, fakeContainerd, shelf } from "./fake.ts";
import type { FakeContainerd } from "./fake.ts";

const layers = ["sha256:aa", "sha256:bb"];
const architecture = process.arch === "x64" ? "amd64" : process.arch;

function image(name: string, digest: string, updated: bigint) {
  const target = { mediaType: "", digest, size: 0n, annotations: {} };
  return { name, labels: {}, target, createdAt: { seconds: 1n, nanos: 0 }, updatedAt: { seconds: updated, nanos: 0 } };
}

const made = (name: string, labels: Record<string, string> = {}): Container => container("web", labels, { image: name });

async function ask(containerd: FakeContainerd, of: Container): Promise<ImageLabels> {
  using client = openContainerd(containerd.socket);
  return await imageLabelsOf(client, "default", of);
}

function stock(containerd: FakeContainerd): void {
  containerd.shelves["default"] = shelf({ images: [
    image("plain", "sha256:m1", 500n), image("index", "sha256:i1", 500n), image("moved", "sha256:m1", 2000n), image("bare", "sha256:m2", 500n),
    image("empty", "sha256:nowhere", 500n),
  ] });
  Object.assign(containerd.content, {
    "sha256:m1": JSON.stringify({ config: { digest: "sha256:c1" } }),
    "sha256:c1": JSON.stringify({ config: { Labels: { role: "admin" } }, rootfs: { diff_ids: layers } }),
    "sha256:m2": JSON.stringify({ config: { digest: "sha256:c2" } }),
    "sha256:c2": JSON.stringify({ config: {}, rootfs: { diff_ids: [] } }),
    "sha256:i1": JSON.stringify({ manifests: [
      { digest: "sha256:other", platform: { os: "linux", architecture: "s390x" } }, { digest: "sha256:m1", platform: { os: "linux", architecture } },
    ] }),
  });
}

test("the image's configuration has its labels: by a manifest, or by an index for this machine", async (t) => {
  await using containerd = await fakeContainerd();
  stock(containerd);
  t.deepEqual(await ask(containerd, made("plain")), { known: true, labels: { role: "admin" } });
  t.deepEqual(await ask(containerd, made("index")), { known: true, labels: { role: "admin" } });
  t.deepEqual(await ask(containerd, made("bare")), { known: true, labels: {} });
});

test("a container without an image has none of an image's labels", async (t) => {
  await using containerd = await fakeContainerd();
  t.deepEqual(await ask(containerd, made("")), { known: true, labels: {} });
});

test("what cannot be read is not known: an image that is gone, or whose content is", async (t) => {
  await using containerd = await fakeContainerd();
  stock(containerd);
  t.deepEqual(await ask(containerd, made("gone")), { known: false, why: "its image gone is gone" });
  t.deepEqual(await ask(containerd, made("empty")), { known: false, why: "the configuration of its image empty is not there" });
});

test("an image's name that was pulled again is believed only for a container that stands on its layers", async (t) => {
  await using containerd = await fakeContainerd();
  stock(containerd);
  containerd.parents["web"] = chainOf(layers);
  t.deepEqual(await ask(containerd, made("moved")), { known: true, labels: { role: "admin" } });
  containerd.parents["web"] = chainOf(["sha256:older"]);
  t.deepEqual(await ask(containerd, made("moved")), { known: false, why: "its image's name moved means another image by now" });
  delete containerd.parents["web"];
  t.false((await ask(containerd, made("moved"))).known);
});

test("a chain of layers is hashed as the OCI image specification says", (t) => {
  t.is(chainOf([]), "");
  t.is(chainOf(["sha256:aa"]), "sha256:aa");
  t.is(chainOf(layers), "sha256:b68ad689d6d1ec110ea1c13617437ad6f3766d4b3b309f6a603a222e07a0164f");
});

test("own are the labels that the image has not, or has otherwise", (t) => {
  const all = { role: "admin", tier: "db", toString: "x" };
  t.deepEqual(ownLabels(all, { known: true, labels: { role: "admin", tier: "web" } }), { tier: "db", toString: "x" });
  t.deepEqual(ownLabels(all, { known: false, why: "" }), {});
});
