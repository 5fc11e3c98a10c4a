// Tells that links, addresses or routes changed; who listens reads them again, so a lost message loses nothing.
import { addon } from "../addon.ts";
import { kernelCall } from "../errors.ts";
import { netlinkOptions, netlinkRoute, solNetlink, watchedGroups } from "./rtnetlink.ts";

/** Changes that come together within this time (milliseconds) are one call. */
const quiet = 20;

export function watchNetwork(netnsPath: string | undefined, onChange: () => void): Disposable {
  let timer: NodeJS.Timeout | undefined;
  // An error (ENOBUFS: the queue overflowed) says as much as a message: look again.
  const soon = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined;
      onChange();
    }, quiet);
  };
  const socket = kernelCall(() => new (addon().NetlinkSocket)(netnsPath, netlinkRoute, soon));
  for (const group of watchedGroups) socket.setOption(solNetlink, netlinkOptions.addMembership, group);
  return {
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      timer = undefined;
      socket.close();
    },
  };
}
