// Reconciliation with what Docker says: names and labels come, forgotten things go, young things stay.
import test from "ava";
import type { DockerTruth } from "../../../src/network/commands.ts";
import { reconcile } from "../../../src/network/reconcile.ts";
import { networkKey, networkPlan } from "../../../src/network/plan.ts";
import { requestAddress } from "../../../src/network/request-address.ts";
import { requestPool } from "../../../src/network/request-pool.ts";
import { emptyState } from "../../../src/network/types.ts";
import type { Network } from "../../../src/network/types.ts";
import { after, context, db, endpoint, joined, joining, laterBy, made, network, plugged, pool, poolId, printSteps, published, shop, web } from "./world.ts";

const full = after(made(network()), plugged(endpoint()), joined(joining()), published(db, "8080:80"), plugged(endpoint({ id: web, ipv4: "10.50.0.3/24" })));
const container = { id: "c0ffee", name: "db", labels: { tier: "db" } };
const truth = (...endpoints: DockerTruth["networks"][number]["endpoints"]): DockerTruth => ({ networks: [{ id: shop, name: "shop", endpoints }] });
/** As `full`, once Docker has told the network's name. */
const named = reconcile(full, truth({ id: db, container: null }, { id: web, container: null }), context).next;
const nothing: DockerTruth = { networks: [] };
const minute = laterBy(60_000);

test("names and labels are learnt once (R17)", (t) => {
  const first = reconcile(full, truth({ id: db, container }, { id: web, container: null }), context);
  t.deepEqual([printSteps(first.steps), first.reply], [["network 540900 10.50.0.0/24 10.50.0.1 masquerade"], { removedEndpoints: [], removedNetworks: [], identified: 1, restored: [], refused: [] }]);
  t.is(first.next.networks.get(shop)?.name, "shop");
  t.deepEqual(first.next.endpoints.get(db)?.container, container);
  const again = reconcile(first.next, truth({ id: db, container }, { id: web, container: null }), context);
  t.deepEqual([again.next === first.next, again.steps], [true, []]);
  const renamed = reconcile(first.next, truth({ id: db, container: { ...container, labels: { tier: "cache" } } }), context);
  t.is(renamed.reply.identified, 1);
});

test("a name that becomes known makes the network's step again, with the key by which other nodes know it", (t) => {
  t.deepEqual(full.networks.get(shop) && networkPlan(full.networks.get(shop) as Network).key, 0);
  const [step] = reconcile(full, truth({ id: db, container }, { id: web, container: null }), context).steps;
  t.is(step?.kind === "network" ? step.network.key : undefined, networkKey("shop"));
});

test("the key made of a name is the same everywhere, fits 23 bits and is none of those with another meaning", (t) => {
  t.deepEqual([networkKey(null), networkKey("shop"), networkKey("größe")], [0, 0x47e1f9, 0x38f500]);
  for (let i = 0; i < 20_000; i++) {
    const key = networkKey(`net${i}`);
    if (key < 256 || key > 0x7f_ffff) t.fail(`net${i} has the key ${key}`);
  }
  t.true(new Set(Array.from({ length: 1000 }, (_, i) => networkKey(`net${i}`))).size > 990);
});

test("aliases are learnt, and so is that they changed", (t) => {
  const known = (aliases: readonly string[] | undefined) => truth({ id: db, container: aliases === undefined ? container : { ...container, aliases } }, { id: web, container: null });
  const first = reconcile(full, known(undefined), context).next;
  const second = reconcile(first, known(["data"]), context);
  t.deepEqual([second.reply.identified, second.next.endpoints.get(db)?.container?.aliases], [1, ["data"]]);
  t.is(reconcile(second.next, known(["data"]), context).next, second.next);
  t.is(reconcile(second.next, known([]), context).reply.identified, 1);
  t.is(reconcile(second.next, known(undefined), context).next, second.next, "what is not told now is not forgotten");
  const relabelled = reconcile(second.next, truth({ id: db, container: { ...container, labels: {} } }, { id: web, container: null }), context);
  t.deepEqual(relabelled.next.endpoints.get(db)?.container, { ...container, labels: {}, aliases: ["data"] });
});

test("R88: that labels become doubtful, or are no longer, is learnt", (t) => {
  const doubted = { ...container, own: {}, doubtful: { tier: "db" } };
  const first = reconcile(full, truth({ id: db, container: { ...container, own: {} } }, { id: web, container: null }), context);
  const second = reconcile(first.next, truth({ id: db, container: doubted }, { id: web, container: null }), context);
  t.deepEqual([second.reply.identified, second.next.endpoints.get(db)?.container], [1, doubted]);
  t.is(reconcile(second.next, truth({ id: db, container: doubted }, { id: web, container: null }), context).next, second.next);
  t.is(reconcile(second.next, truth({ id: db, container: { ...doubted, doubtful: { tier: "web" } } }, { id: web, container: null }), context).reply.identified, 1);
  t.is(reconcile(second.next, truth({ id: db, container: { ...container, own: {} } }, { id: web, container: null }), context).reply.identified, 1);
});

test("an endpoint that Docker no longer lists goes, unless it is younger than a minute (R16)", (t) => {
  t.deepEqual(reconcile(named, truth({ id: web, container: null }), laterBy(59_999)).steps, []);
  const late = reconcile(named, truth({ id: web, container: null }), minute);
  t.deepEqual(printSteps(late.steps), [
    "removePort tcp 0.0.0.0 8080 -> 10.50.0.2 80",
    "removeEndpoint hwdb010000000 540900 10.50.0.2 02:42:0a:32:00:02",
    "detach hwdb010000000",
    "removeCable hwdb010000000 hwdb010000000c 02:42:0a:32:00:02 1500",
  ]);
  t.deepEqual([late.reply.removedEndpoints, [...late.next.endpoints.keys()]], [[db], [web]]);
});

test("a clock that is set back an hour keeps nothing that is gone, and one that slews takes nothing that starts (R23)", (t) => {
  t.deepEqual(reconcile(full, truth({ id: web, container: null }), laterBy(-3_600_000)).reply.removedEndpoints, [db]);
  t.deepEqual(reconcile(full, truth({ id: web, container: null }), laterBy(-500)).reply.removedEndpoints, []);
});

test("a network that Docker no longer has goes with its endpoints and its pool, unless it is younger than a minute (R16)", (t) => {
  t.is(reconcile(full, nothing, laterBy(59_999)).next, full);
  const held = requestPool(emptyState, pool({ pool: "10.50.0.0/24" }), context).next;
  const state = plugged(endpoint())(made(network())(held).next).next;
  const late = reconcile(state, nothing, minute);
  t.deepEqual(printSteps(late.steps), ["detach hwdb010000000", "removeCable hwdb010000000 hwdb010000000c 02:42:0a:32:00:02 1500", "removeNetwork 540900 10.50.0.0/24 10.50.0.1 masquerade"]);
  t.deepEqual([late.next, late.reply], [emptyState, { removedEndpoints: [db], removedNetworks: [shop], identified: 0, restored: [], refused: [] }]);
});

test("addresses that no endpoint holds are freed after a minute; gateway, aux and live ones stay (R94)", (t) => {
  const id = poolId("10.50.0.0/24");
  const addresses = ["10.50.0.1", "10.50.0.2", "10.50.0.3", "10.50.0.5"] as const;
  const held = addresses.reduce(
    (state, address) => requestAddress(state, { pool: id, address, purpose: address === "10.50.0.1" ? "gateway" : "endpoint" }, context).next,
    requestPool(emptyState, pool({ pool: id }), context).next,
  );
  const aux = { a: "10.50.0.5/24" };
  const state = plugged(endpoint())(made(network({ ipv4: [{ pool: id, gateway: "10.50.0.1", aux }] }))(held).next).next;
  const left = (when: typeof context) => Object.keys(reconcile(state, truth({ id: db, container }), when).next.pools.get(id)?.allocated ?? {});
  t.deepEqual(left(laterBy(59_999)), ["10.50.0.1", "10.50.0.2", "10.50.0.3", "10.50.0.5"]);
  t.deepEqual(left(minute), ["10.50.0.1", "10.50.0.2", "10.50.0.5"]);
});

test("a pool that no network of ours claims goes only when Docker is known to have none on it", (t) => {
  const state = requestPool(emptyState, pool({ pool: "10.50.0.0/24" }), context).next;
  t.is(reconcile(state, nothing, minute).next, state);
  t.is(reconcile(state, { ...nothing, pools: [{ prefix: "10.50.0.0/24", range: null, gateway: null, aux: [], addresses: [] }] }, minute).next, state);
  t.is(reconcile(state, { ...nothing, pools: [] }, laterBy(59_999)).next, state);
  t.deepEqual(reconcile(state, { ...nothing, pools: [] }, minute).next, emptyState);
});
