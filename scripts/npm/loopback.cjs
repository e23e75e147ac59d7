// Preloaded into every Node program the tests start (node --require): a server that names no address listens on
// 127.0.0.1 instead of on all interfaces. Some of the example servers name only a port.
"use strict";
const net = require("node:net");
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  const [first, second] = args;
  if (first !== null && typeof first === "object" && first.port !== undefined && !first.host) {
    args[0] = { ...first, host: "127.0.0.1" };
  } else if ((typeof first === "number" || /^\d+$/.test(first)) && typeof second !== "string") {
    args.splice(1, second === undefined && args.length > 1 ? 1 : 0, "127.0.0.1");
  }
  return listen.apply(this, args);
};
