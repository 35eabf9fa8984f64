// One function per panel: takes the view, fills its place. No state of its own.

import { $, chip, clock, el, facts, fill, fillIfNew, marketClock, millis, number, profit, seconds, show, signed, table } from "./dom.js";

export function head(view) {
  $("verdict").className = "light-" + view.light;
  fill($("state"), document.createTextNode(view.healthy && view.light === "green" ? "ready, all well" : view.state));
  const since = view.gateway.since_s;
  fill($("since"), document.createTextNode([view.gateway.mode, since !== null && view.state !== "unreachable" ? "for " + seconds(since) : ""].filter(Boolean).join(", ")));
  document.title = (view.light === "green" ? "● " : "✕ ") + view.state + " – gateway monitor";
  const ok = (list) => list.filter((one) => one.light === "green").length + "/" + list.length;
  const shown = [
    ["today", profit(view.today_pnl)], ["round trip", millis(view.gateway.rtt_ms)], ["farms", ok(view.gateway.farms)],
    ["waiting", view.pacing.lanes.reduce((sum, lane) => sum + lane.depth, 0)], ["streams", ok(view.streams)],
    ["engines", ok(view.engines)], ["open orders", view.orders_open], ["fills", view.fills_total],
  ];
  if (view.gateway.market_time_ns) shown.push(["market time", el("span", new Date(view.gateway.market_time_ns / 1e6).toLocaleTimeString("en-GB", { timeZone: "America/New_York" }) + " ET")]);
  fill($("glance"), ...shown.map(([name, value]) => el("div", el("dt", name), el("dd", value))));
}

export function problems(view) {
  $("problems").hidden = !view.problems.length;
  fillIfNew($("problems"), view.problems, () => {
    const all = document.createDocumentFragment();
    for (const one of view.problems) all.append(el("div.problem.light-" + one.light, el("strong", one.subject), el("span", one.text), el("span", one.advice)));
    return all;
  });
}

export function gateway(view) {
  const g = view.gateway;
  fill($("gateway"),
    el("div.chips", g.farms.map((farm) => chip(farm.light, farm.name + " " + farm.state))),
    facts([
      ["mode", g.mode], ["last message", g.last_message_age_s === null ? null : seconds(g.last_message_age_s) + " ago"], ["loop lag", millis(g.loop_lag_ms)],
      ["clock skew", g.clock_skew_s === null ? null : signed(g.clock_skew_s) + "s"], ["server version", g.server_version], ["client id", g.client_id],
      ["bus", [view.bus.subscriptions + " subscriptions", view.bus.dropped + " dropped", view.bus.gaps + " gaps"].join(", ")],
      ["bus delay", millis(view.bus.delay_ms.p50) + " p50, " + millis(view.bus.delay_ms.p99) + " p99"],
    ]),
    el("div.chips", view.breakers.map((one) => chip(one.light, "breaker " + one.name + " " + one.state + (one.retry_in_s && one.state !== "closed" ? ", probe in " + seconds(one.retry_in_s) : "")))),
    el("div.chips", view.processes.map((one) => chip(one.light, one.name + " " + one.state + (one.restarts ? ", " + one.restarts + " restarts" : "") + (one.rss_mb ? ", " + Math.round(one.rss_mb) + " MB" : "")))),
  );
}

export function pacing(view) {
  const used = view.pacing.rules.filter((rule) => rule.used > 0), rules = used.slice(0, 12), idle = view.pacing.rules.length - used.length;
  fill($("rules"), ...rules.map((rule) => {
    const share = rule.limit > 0 ? rule.used / rule.limit : 0;
    const bar = el("progress.bar" + (share >= 0.95 ? ".red" : share >= 0.75 ? ".amber" : ""), { max: 1, value: Math.min(1, share) });
    bar.setAttribute("aria-label", rule.rule);
    const name = el("span", rule.rule + (rule.scope && rule.scope !== "all" ? " " + rule.scope : ""));
    name.title = rule.rule + " " + rule.scope + (rule.window_s ? ", in " + seconds(rule.window_s) : "");
    return el("div.budget", name, bar, el("span", rule.used + " / " + rule.limit + (rule.next_free_s > 0 ? " ·" + seconds(rule.next_free_s) : "")));
  }), idle ? el("div.none", idle + " more rules are not used at the moment") : null);
  const lanes = view.pacing.lanes.map((lane) => chip(lane.depth ? (lane.oldest_s > 10 ? "amber" : "open") : "green", lane.name + " " + lane.depth + (lane.depth ? ", oldest " + seconds(lane.oldest_s) : "")));
  fill($("lanes"), el("div.chips", lanes));
}

export function latency(view) {
  const rows = view.latency.map((one) => [
    one.name, el("span.queue", millis(one.queue_ms.p50)), el("span.queue", millis(one.queue_ms.p99)), el("span.gateway", millis(one.gateway_ms.p50)),
    el("span.gateway", millis(one.gateway_ms.p99)), el("span.gateway", millis(one.gateway_ms.max)), one.gateway_ms.count,
  ]);
  if (view.bus.delay_ms.count) rows.push(["bus", "–", "–", millis(view.bus.delay_ms.p50), millis(view.bus.delay_ms.p99), millis(view.bus.delay_ms.max), view.bus.delay_ms.count]);
  fill($("latency-table"), table(["class", "queue p50#?", "queue p99#", "Gateway p50#?", "p99#", "max#", "count#?"], rows, "no request yet"));
}

export function streams(view) {
  const rows = view.streams.map((one) => [el("span", one.topic.replace(/\/$/, "")), chip(one.light, one.held_by ? `${one.state}: ${one.held_by}` : one.state), seconds(one.age_s), one.bars ?? "–"]);
  fill($("streams"), table(["stream~", "state", "age#", "bars#?"], rows, "nobody has asked for a stream"));
}

export function engines(view) {
  const rows = view.engines.map((one) => [
    el("span", el("strong", one.name), el("br"), el("span.dim", one.symbols.join(" "))), chip(one.light, one.state || "–"), one.last_decision || "–",
    (one.signals ?? "–") + " / " + (one.orders ?? "–"),
  ]);
  fillIfNew($("engines"), view.engines.map((one) => [one.name, one.state, one.symbols, one.last_decision, one.signals, one.orders]), () => table(["engine", "state", "last decision~", "signals / orders#"], rows, "no engine reports"));
}

export function orders(view) {
  fillIfNew($("orders"), view.orders.map((one) => [one.client_order_id, one.state, one.filled]), () => table(
    ["order~", "engine?", "state", "filled#"],
    view.orders.map((one) => ({
      cells: [one.action + " " + one.quantity + " " + one.contract + (one.simulated ? " (dry-run)" : ""), one.engine, chip(one.open && one.light === "green" ? "open" : one.light, one.state), one.filled + "/" + one.quantity],
      open: () => orderLife(one),
    })),
    "no order yet",
  ));
}

function orderLife(order) {
  const steps = order.life.map(([ns, state, reason], i) => el("li", el("strong", state), " " + marketClock(ns) + " ET" + (i ? ", " + millis((ns - order.life[i - 1][0]) / 1e6) + " later" : ""), reason ? el("div.dim", reason) : null));
  const legs = order.legs.map((leg) => [leg.leg.replace("_", " "), leg.state, leg.action + " " + leg.quantity, leg.limit_price === null ? "–" : number(leg.limit_price), leg.stop_price === null ? "–" : number(leg.stop_price), leg.filled, leg.average_price === null ? "–" : number(leg.average_price)]);
  show(order.action + " " + order.quantity + " " + order.contract, facts([["engine", order.engine], ["reference", order.client_order_id], ["simulated", order.simulated ? "yes (dry-run)" : null], ["reason", order.reason]]), el("h2", "Life"), el("ol.life", steps),
    legs.length ? table(["leg", "state", "order", "limit#", "stop#", "filled#", "average#"], legs, "") : null);
}

export function money(view) {
  const account = view.account;
  const key = [view.fills.map((one) => [one.exec_id, one.realized_pnl]), view.positions, account.net_liquidation, account.daily_pnl];
  fillIfNew($("money"), key, () => {
    const all = document.createDocumentFragment();
    all.append(facts([["net liquidation", account.net_liquidation === null ? null : number(account.net_liquidation) + " " + account.currency], ["available", account.available_funds === null ? null : number(account.available_funds)],
      ["today", account.daily_pnl === null ? null : signed(account.daily_pnl)], ["unrealized", account.unrealized_pnl === null ? null : signed(account.unrealized_pnl)]]));
    if (view.positions.length) all.append(el("div.chips", view.positions.map((one) => chip("green", one.contract + " " + (one.quantity > 0 ? "+" : "") + one.quantity + " @ " + number(one.average_cost)))));
    all.append(table(["time ET", "fill~", "price#", "leg?", "realized#"], view.fills.map((one) => [marketClock(one.wall_ns), one.action + " " + one.quantity + " " + one.contract, number(one.price), one.leg.replace("_", " "), profit(one.realized_pnl)]), "no fill yet"));
    return all;
  });
}

export function verdicts(view) {
  fillIfNew($("verdicts"), view.verdicts.map((one) => one.number), () => table(
    ["time", "verdict", "request~", "took#"],
    view.verdicts.map((one) => ({ cells: [clock(one.wall_ns), chip(one.light, one.verdict), [one.request_class, one.subject].filter(Boolean).join(": "), millis(one.timeline.total_ms)], open: () => verdict(one) })),
    "no verdict yet",
  ));
}

/** One request's timeline: our queue and the Gateway on one scale. */
export function verdict(one) {
  const t = one.timeline || {};
  const stages = [["our queue", t.queued_ms, "queue"], ["Gateway", t.gateway_ms, "gateway"]].filter(([, ms]) => typeof ms === "number");
  const total = Math.max(t.total_ms || 0, stages.reduce((sum, [, ms]) => sum + ms, 0), 0.001);
  let before = 0;
  const rows = stages.map(([name, ms, kind]) => {
    const row = el("div.row", el("span", name), bar(before / total, ms / total, kind), el("span", millis(ms)));
    before += ms;
    return row;
  });
  const evidence = Object.entries(one.evidence || {}).map(([name, value]) => [name, typeof value === "object" ? JSON.stringify(value) : String(value)]);
  show(one.verdict, el("p", one.advice || ""), rows.length ? el("div.timeline", rows, el("div.row", el("span", "total"), el("span"), el("span", millis(t.total_ms ?? total)))) : null,
    facts([["request", [one.request_class, one.subject].filter(Boolean).join(": ")], ["held by rule", t.held_by || null], ["cache", t.cache || null], ...evidence]));
}

function bar(from, share, kind) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const rect = document.createElementNS(space, "rect");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("viewBox", "0 0 1000 14");
  for (const [name, value] of [["x", from * 1000], ["width", Math.max(share * 1000, 2)], ["height", 14], ["rx", 3], ["class", kind]]) rect.setAttribute(name, value);
  svg.append(rect);
  return svg;
}

export function eventLine(event) {
  const line = el("div.event.light-" + event.light + ".kind-" + event.kind, el("time", clock(event.wall_ns)), el("span.kind", event.kind), el("span", (event.subject ? event.subject + ": " : "") + event.text));
  return line;
}

export function chain(chains, symbol) {
  const one = chains[symbol];
  fill($("chain-info"), document.createTextNode(one ? one.expiry + (one.underlying_price ? ", underlying " + number(one.underlying_price) : "") : ""));
  const rows = one ? chainRows(one) : [];
  const strikes = [...new Set(rows.map((row) => row.strike))].sort((a, b) => a - b);
  const nearest = strikes.reduce((best, strike) => (Math.abs(strike - one.underlying_price) < Math.abs(best - one.underlying_price) ? strike : best), strikes[0]);
  const side = (strike, right) => rows.find((row) => row.strike === strike && row.right === right) || {};
  const price = (value) => (typeof value === "number" ? number(value) : "–");
  const count = (value) => (typeof value === "number" ? number(value, 0) : "–");
  fill($("chain"), table(["call volume#", "delta#?", "bid#", "ask#", "strike#", "put bid#", "ask#", "delta#?", "volume#"], strikes.map((strike) => {
    const c = side(strike, "C"), p = side(strike, "P");
    return { cls: strike === nearest ? "at-money" : "", cells: [count(c.volume), price(c.delta), price(c.bid), price(c.ask), el("strong", String(strike)), price(p.bid), price(p.ask), price(p.delta), count(p.volume)] };
  }), "no chain has been asked for"));
}

/** Rows, or columns turned into rows. */
function chainRows(one) {
  if (Array.isArray(one.rows)) return one.rows;
  const columns = one.columns || one;
  if (!Array.isArray(columns.strike)) return [];
  return columns.strike.map((strike, i) => Object.fromEntries(Object.keys(columns).filter((name) => Array.isArray(columns[name])).map((name) => [name, columns[name][i]])));
}
