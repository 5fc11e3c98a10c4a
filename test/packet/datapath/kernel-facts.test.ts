// Tick rate, jiffies and mounts read from the kernel's own words.
import test from "ava";
import { isAtLeast } from "../../../src/datapath/features.ts";
import { cgroupRoot, jiffiesClock, rateOf, ticksPerSecond } from "../../../src/datapath/kernel-facts.ts";
import { mountPointOf, parsePinName, pinName } from "../../../src/datapath/pins.ts";
import { sctpHolds } from "../../../src/datapath/claim-port.ts";
import { createLog } from "../../../src/std/log.ts";
import { parseIp } from "../../../src/std/ip.ts";

const timerList = "Timer List Version: v0.10\nnow at 1584598780519 nsecs\n\ncpu: 0\njiffies: 4295288383\ncpu: 1\njiffies: 4295288380\n";

test.serial("one reading of /proc/timer_list tells the tick rate", (t) => {
  t.is(rateOf(timerList), 250);
  t.is(rateOf(timerList.replaceAll(/jiffies: \d+/g, "jiffies: 4296251894")), 1000);
  t.is(rateOf("nothing"), undefined);
  t.is(rateOf(undefined), undefined);
});

test.serial("this kernel's own tick rate agrees with its configuration", (t) => {
  t.true([100, 250, 300, 1000].includes(ticksPerSecond(createLog(() => {}, Date.now))));
});

test.serial("jiffies are read off the monotonic clock and wrap at 32 bits", (t) => {
  const at = (seconds: number): number => jiffiesClock(250, timerList, () => BigInt(Math.round((1584.598780519 + seconds) * 1e9)))();
  t.is(at(0), 4295288383 % 2 ** 32);
  t.is(at(10), (4295288383 + 2500) % 2 ** 32);
  const early = jiffiesClock(250, "", () => 1_000_000_000n);
  t.is(early(), 2 ** 32 - 300 * 250 + 250);
});

test.serial("the cgroup2 mount is found beside cgroup v1, and its absence is told", (t) => {
  t.is(cgroupRoot("cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"), "/sys/fs/cgroup/unified");
  t.throws(() => cgroupRoot("proc /proc proc rw 0 0\n"), { code: "UNSUPPORTED", message: /mount -t cgroup2/ });
});

test.serial("pin names survive dots, percent signs and slashes", (t) => {
  for (const device of ["eth0", "eth0.100", "100%", "/sys/fs/cgroup/unified"]) {
    const name = pinName({ program: "netdev", device });
    t.false(/[./]/.test(name));
    t.deepEqual(parsePinName(name), { program: "netdev", device });
  }
  t.is(parsePinName("stranger"), undefined);
});

test.serial("the bpffs is mounted at its place in sysfs, else at our own folder", (t) => {
  t.is(mountPointOf("/sys/fs/bpf/hawser"), "/sys/fs/bpf");
  t.is(mountPointOf("/run/hawser/bpf"), "/run/hawser/bpf");
});

test.serial("kernel releases compare as numbers", (t) => {
  t.true(isAtLeast("6.1.0-18-amd64", 5, 18));
  t.true(isAtLeast("5.18.0", 5, 18));
  t.false(isAtLeast("5.9.16", 5, 18));
});

test.serial("an SCTP endpoint holds its port on its addresses", (t) => {
  const eps = " ENDPT     SOCK   STY SST HBKT LPORT   UID INODE LADDRS\n 0 0 2 10 29 38412 0 12345 127.0.0.1\n";
  t.true(sctpHolds({ hostIp: parseIp("127.0.0.1"), hostPort: 38412 }, eps));
  t.true(sctpHolds({ hostIp: parseIp("0.0.0.0"), hostPort: 38412 }, eps));
  t.false(sctpHolds({ hostIp: parseIp("192.0.2.1"), hostPort: 38412 }, eps));
  t.false(sctpHolds({ hostIp: parseIp("127.0.0.1"), hostPort: 38413 }, eps));
});
