// What identity a container carries, from what the agent shows of it.
import type { EndpointView, IdentityView } from "../api/client.ts";
import type { Identity, IdentityLabels } from "../policy/types.ts";

/** With its name, which the agent leaves out as long as no rule in force refers to it; a file that is looked at may. */
export function carriedBy({ identity: id, name, network }: EndpointView, identities: readonly IdentityView[]): Identity {
  const found = identities.find((identity) => identity.id === id);
  const { labels } = identityOf(found ?? { id, labels: { network }, endpoints: 0 });
  return { id, labels: { ...labels, name, ...(labels.doubtful && { doubtful: { ...labels.doubtful, name } }) } };
}

const [ownLabel, doubtfulLabel] = ["label:", "doubtful:"];

/** From the labels as they are shown. */
function identityOf({ id, labels }: IdentityView): Identity {
  const { doubtful = [], sure = [] } = Object.groupBy(Object.entries(labels), ([key]) => (key.startsWith(doubtfulLabel) ? "doubtful" : "sure"));
  const supposed = [...sure, ...doubtful.map(([key, value]) => [key.slice(doubtfulLabel.length), value] as const)];
  return { id, labels: { ...labelsFrom(sure), ...(doubtful.length > 0 && { doubtful: labelsFrom(supposed) }) } };
}

function labelsFrom(shown: readonly (readonly [key: string, value: string])[]): IdentityLabels {
  const labels: Readonly<Record<string, string>> = Object.fromEntries(shown);
  const { network = "", project = null, service = null, name = null, ...rest } = labels;
  const own = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key.startsWith(ownLabel) ? key.slice(ownLabel.length) : key, value]));
  return { network, project, service, name, own };
}
