// What the models say about records that nodes share, for the door that carries them.
export { firstProvisional, noCluster, slicesOf } from "../network/cluster.ts";
export { Layered } from "../network/layered.ts";
export { identityKey } from "../policy/identity.ts";
