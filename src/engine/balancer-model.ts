// The balancer's thread with nothing but the model.
import { runBalancer } from "./balancer-worker.ts";

runBalancer();
