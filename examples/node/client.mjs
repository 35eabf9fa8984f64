// A plain REQ and a plain SUB socket from Node: `npm install && node client.mjs SPY` (add a number to stop after so many).
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { Request, Subscriber } from "zeromq";

const [symbol = "SPY", stopAfter = Infinity] = process.argv.slice(2);
const state = process.env.XDG_RUNTIME_DIR ?? `${homedir()}/.local/state`;
const home = process.env.GATEWAY_PROXY_RUNTIME ?? `${state}/gateway-proxy`;
const { endpoints } = JSON.parse(readFileSync(`${home}/connection.json`, "utf8"));

const request = new Request({ receiveTimeout: 15000, linger: 0 });
request.connect(endpoints.request);
async function ask(op, args = {}) {
  await request.send(JSON.stringify({ v: 1, id: 1, op, args, expires_ms: 14000 }));
  const { ok, body, error } = JSON.parse((await request.receive()).toString());
  if (!ok) throw new Error(`${error.code}: ${error.message}`);
  return body;
}
console.log("status", (await ask("status")).state);
for (const bar of (await ask("bars", { contract: symbol, size: "1min", count: 3 })).bars) console.log("bar", bar.close);
request.close();

const market = new Subscriber({ linger: 0 });
market.connect(endpoints.market);
market.subscribe(`bars/${symbol}/1min/`);
let seen = 0;
for await (const [frame] of market) {
  const text = frame.toString();
  const { kind, seq, body } = JSON.parse(text.slice(text.indexOf("\n") + 1));
  console.log(kind, seq, kind === "bar" ? body.close : "");
  if (kind === "bar" && ++seen >= stopAfter) break;
}
market.close();
