// rtnetlink of one network namespace.
import { closedError } from "../errors.ts";
import type { Netlink } from "../types.ts";
import { addAddress, deleteAddress, joinGroup, listAddresses } from "./addresses.ts";
import { createTunnel, createVeth, deleteLink, findLink, listLinks, setLink } from "./links.ts";
import { deleteRoute, listRoutes, replaceRoute } from "./routes.ts";
import { NetlinkSocket } from "./socket.ts";
import { watchNetwork } from "./watch.ts";

/** @param netnsPath a namespace's file, such as Docker's sandbox key; the process's own when left out. */
export async function openNetlink(netnsPath?: string): Promise<Netlink> {
  const socket = new NetlinkSocket(netnsPath);
  const watches = new Set<Disposable>();
  return {
    links: () => listLinks(socket),
    link: (name) => findLink(socket, name),
    createVeth: (spec) => createVeth(socket, spec),
    createTunnel: (spec) => createTunnel(socket, spec),
    setLink: (index, change) => setLink(socket, index, change),
    deleteLink: (name) => deleteLink(socket, name),
    addresses: () => listAddresses(socket),
    addAddress: (index, prefix) => addAddress(socket, index, prefix),
    deleteAddress: (index, prefix) => deleteAddress(socket, index, prefix),
    joinGroup: (index, group) => joinGroup(socket, index, group),
    routes: () => listRoutes(socket),
    replaceRoute: (route) => replaceRoute(socket, route),
    deleteRoute: (route) => deleteRoute(socket, route),
    watch: (onChange) => {
      if (socket.closed) throw closedError("watch");
      const watch = watchNetwork(netnsPath, onChange);
      const ended = { [Symbol.dispose]: () => {
        watches.delete(ended);
        watch[Symbol.dispose]();
      } };
      watches.add(ended);
      return ended;
    },
    [Symbol.dispose]: () => {
      for (const watch of watches) watch[Symbol.dispose]();
      socket.close();
    },
  };
}
