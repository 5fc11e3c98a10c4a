// The thread that asks, which stands still from its first half second on.
import "../../../../src/health/thread.ts";

setTimeout(() => { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); }, 500);
