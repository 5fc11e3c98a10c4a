// A web server in a process of its own, which a test that stops its own event loop can ask. Prints its port, and at its end how many it answered.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

let answered = 0;
const server = createServer((_request, response) => {
  answered++;
  response.end("well");
}).listen(0, "127.0.0.1", () => console.log((server.address() as AddressInfo).port));

process.stdin.resume().on("end", () => {
  console.log(answered);
  process.exit();
});
