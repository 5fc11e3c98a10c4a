// How routes of ours are told from everybody else's, on the host and in containers.

/** Routes to other nodes carry it (`ip route show proto 72`). */
export const routeProtocol = 72;
/** RT_TABLE_MAIN and RTN_UNICAST in linux/rtnetlink.h. */
export const mainTable = 254;
export const unicast = 1;
