// The thread that asks, which ends with an error after a second and a half.
import "../../../../src/health/thread.ts";

setTimeout(() => { throw new Error("out of luck"); }, 1500);
