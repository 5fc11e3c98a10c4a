// Ends of flows that are asked for and that nobody is called: a slip of the keyboard would look like silence.
import type { ApiClient } from "../api/client.ts";
import { nearest, slip } from "../std/nearest.ts";

/** A sentence for each word that is a name, and nobody's now. Who has gone may still be asked for, so it is no error. */
export async function nobodys(words: readonly string[], agent: Pick<ApiClient, "endpoints" | "identities">): Promise<readonly string[]> {
  const names = words.filter((word) => !["", "any", "host", "world"].includes(word) && !word.includes("(") && !isAddress(word));
  if (names.length === 0) return [];
  const [endpoints, identities] = await Promise.all([agent.endpoints(), agent.identities()]);
  const services = identities.map(({ labels: { service = "", network = "" } }) => ({ name: service, network }));
  const known = [...endpoints, ...services].filter(({ name }) => name !== "").flatMap(({ name, network }) => [name, `${network}/${name}`]);
  return names
    .filter((word) => !known.includes(word) && !(word.length >= 4 && endpoints.some(({ containerId }) => containerId.startsWith(word))))
    .map((word) => {
      const near = nearest(word, known, slip);
      return `nothing here is called "${word}" now; ${near === undefined ? "`hawser endpoint list` shows what there is" : `did you mean "${near}"?`}`;
    });
}

/** Or meant to be one: the agent says what is wrong with it. */
function isAddress(word: string): boolean {
  return /^[\d.]+(?:\/\d+)?$/.test(word) || (word.includes(":") && /^[0-9a-f:.]+(?:\/\d+)?$/i.test(word));
}
