// What the models say about records that nodes share, for the door that carries them.
export { hashPair } from "../lb/hash.ts";
export { certainty, holdsByLease, holdsByName, settling, turnOf } from "../lb/holder.ts";
export { firstProvisional, longestRecord, noCluster, slicesOf } from "../network/cluster.ts";
export { Layered } from "../network/layered.ts";
export { identityKey } from "../policy/identity.ts";
