// The balancer's thread with tables filled by the addon: the agent runs without optimising compilers, and a large one would take 15 ms.
import { runBalancer } from "../engine/balancer-worker.ts";
import { fillTableNatively } from "../kernel/index.ts";

runBalancer(fillTableNatively);
