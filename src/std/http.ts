// Node's HTTP server. An import by name would read every export of node:http, and one of those loads a whole web client: 3 MiB of an agent.
export const { createServer } = process.getBuiltinModule("node:http");
