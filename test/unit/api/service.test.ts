// Services over the API's socket: what is applied arrives whole, what is listed arrives unchanged.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { connect } from "../../../src/api/client.ts";
import { startApi } from "../../../src/api/server.ts";
import { logTo, queriesOf, recorded, services, traffic, serviceText } from "./world.ts";

test("services arrive unchanged, and documents as they are", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "hawser-api-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const { commands, appliedServices, deletedServices } = recorded();
  await using api = await startApi({ queries: queriesOf(), commands, socket: join(folder, "hawser.sock"), group: null, log: logTo([]) });
  using client = await connect(api.socket);
  t.deepEqual(await client.services(), services.map((service) => ({ ...service, flows: traffic.flows.get(service.name) ?? null })));
  t.deepEqual(await client.service("web"), { ...services[0], flows: 12, text: serviceText });
  await t.throwsAsync(client.service("wed"), { code: "NOT_FOUND", message: /there are web/ });
  const command = { documents: [{ file: "/srv/größe.yaml", text: serviceText }] };
  t.deepEqual(await client.applyService(command), { applied: ["/srv/größe.yaml"], warnings: ["web.yaml:3:12: nobody serves by this"] });
  t.deepEqual(appliedServices, [command]);
  await client.deleteService("web");
  t.deepEqual(deletedServices, ["web"]);
});
