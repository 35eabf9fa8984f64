// The three charts, on uPlot. Each takes data and draws; colours come from the theme.

import { $, number, seconds } from "./dom.js";

const uPlot = window.uPlot;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const LINES = ["accent", "amber", "queue", "red", "green"];
const drawn = new Map();

export function forget() {
  for (const { plot } of drawn.values()) plot.destroy();
  drawn.clear();
}

/** Draws into `id`; a chart whose `shape` (series, labels) is unchanged only gets new data. */
function draw(id, shape, options, data) {
  const place = $(id);
  if (!data[0].length) return;
  const key = JSON.stringify(shape);
  const before = drawn.get(id);
  if (before && before.key === key) return before.plot.setData(data);
  if (before) before.plot.destroy();
  place.classList.remove("empty");
  place.replaceChildren();
  drawn.set(id, { key, plot: new uPlot({ ...size(place), ...options }, data, place) });
}

// uPlot's height is the plot alone; the legend stands below it and takes the room it needs.
const size = (place) => ({ width: place.clientWidth, height: place.classList.contains("tall") ? (innerWidth < 700 ? 210 : 290) : 180 });

export function resize() {
  for (const [id, { plot }] of drawn) plot.setSize(size($(id)));
}

function axes(value, space = 58) {
  const grid = { stroke: colour("line"), width: 1 };
  const common = { stroke: colour("dim"), grid, ticks: grid, font: "11px system-ui, sans-serif" };
  return [{ ...common, values: [[86400, "{DD}.{MM}."], [3600, "{HH}:{mm}"], [60, "{HH}:{mm}"], [1, "{HH}:{mm}:{ss}"]].map(([step, text]) => [step, text, null, null, null, null, null, null, 1]) }, { ...common, size: space, values: (_, ticks) => ticks.map(value) }];
}

const line = (label, name, more = {}) => ({ label, stroke: colour(name), width: 1.6, points: { show: false }, spanGaps: true, ...more });

export function price(market) {
  const names = Object.keys(market.indicators).filter((name) => onPriceScale(market, name));
  const at = new Map(market.t.map((t, i) => [t, i]));
  const marks = market.t.map(() => null);
  for (const signal of market.signals) if (at.has(signal.t)) marks[at.get(signal.t)] = market.low[at.get(signal.t)];
  const series = [
    { label: "bar", value: (plot, i) => (i === null ? "–" : stamp(plot.market, i)) },
    line("close", "text", { width: 0, stroke: "transparent", value: (_, v) => (v === null ? "–" : number(v)) }),
    ...names.map((name, i) => line(name.replaceAll("_", " "), LINES[i % LINES.length], { value: (_, v) => (v === null ? "–" : number(v)) })),
    { label: "signal", stroke: colour("accent"), paths: () => null, points: { show: true, size: 11, fill: colour("accent"), stroke: colour("card") }, value: (_, v) => (v === null ? "–" : "yes") },
  ];
  // Bars stand side by side, so that nights and halts leave no hole; the labels tell the time.
  const [x, y] = axes((v) => number(v));
  const labels = { ...x, values: (plot, ticks) => ticks.map((i) => (Number.isInteger(i) ? stamp(plot.market, i, true) : "")) };
  const before = drawn.get("price");
  if (before) before.plot.market = market;
  draw("price", [market.topic, names], { series, axes: [labels, y], scales: { x: { time: false, range: (_, low, high) => [low - 1, high + 1] }, y: { range: priceRange } }, plugins: [candles(market)] },
    [market.t.map((_, i) => i), market.close, ...names.map((name) => market.indicators[name]), marks]);
}

/** New York time of bar number `i`; "" where there is none. */
function stamp(market, i, short) {
  if (!market || market.t[i] === undefined) return "";
  const how = { timeZone: "America/New_York", hour: "2-digit", minute: "2-digit", ...(short ? {} : { day: "2-digit", month: "short" }) };
  return new Date(market.t[i] * 1000).toLocaleString("en-GB", how) + (short ? "" : " ET");
}

/** RSI and the like live on a scale of their own; drawing them over prices would squash both. */
function onPriceScale(market, name) {
  const values = market.indicators[name].filter((value) => value !== null);
  if (!values.length) return false;
  const low = Math.min(...market.low), high = Math.max(...market.high), room = Math.max(high - low, high * 0.01);
  return values.every((value) => value > low - room && value < high + room);
}

const priceRange = (plot) => {
  const market = plot.market;
  if (!market) return [null, null];
  const low = Math.min(...market.low), high = Math.max(...market.high), pad = (high - low || high * 0.001) * 0.06;
  return [low - pad, high + pad];
};

function candles(first) {
  return {
    hooks: {
      init: (plot) => { plot.market = first; },
      drawAxes: (plot) => {
        const { ctx } = plot, market = plot.market, { left, width } = plot.bbox;
        const body = Math.max(1, Math.min(12, (width / Math.max(market.t.length, 1)) * 0.6));
        ctx.save();
        ctx.beginPath(); ctx.rect(left, plot.bbox.top, width, plot.bbox.height); ctx.clip();
        for (let i = 0; i < market.t.length; i++) {
          const x = plot.valToPos(i, "x", true), y = (value) => plot.valToPos(value, "y", true);
          ctx.fillStyle = ctx.strokeStyle = colour(market.close[i] >= market.open[i] ? "up" : "down");
          ctx.lineWidth = 1;
          ctx.beginPath(); ctx.moveTo(x, y(market.high[i])); ctx.lineTo(x, y(market.low[i])); ctx.stroke();
          const top = y(Math.max(market.open[i], market.close[i]));
          ctx.fillRect(x - body / 2, top, body, Math.max(1, y(Math.min(market.open[i], market.close[i])) - top));
        }
        for (const fill of market.fills) drawFill(plot, market, fill);
        ctx.restore();
      },
    },
  };
}

/** A triangle at the bar in which we bought (below it, pointing up) or sold (above it, pointing down). */
function drawFill({ ctx, valToPos }, market, fill) {
  let i = market.t.length - 1;
  while (i >= 0 && market.t[i] > fill.t) i--;
  if (i < 0) return;
  const buy = fill.action === "BUY", size = 7 * devicePixelRatio, x = valToPos(i, "x", true);
  const tip = valToPos(buy ? market.low[i] : market.high[i], "y", true) + (buy ? 4 : -4) * devicePixelRatio, base = tip + (buy ? size : -size);
  ctx.fillStyle = colour(buy ? "up" : "down");
  ctx.strokeStyle = colour("text");
  ctx.beginPath(); ctx.moveTo(x, tip); ctx.lineTo(x - size * 0.7, base); ctx.lineTo(x + size * 0.7, base); ctx.closePath(); ctx.fill(); ctx.stroke();
}

export function latency(rows, name) {
  const t = rows.map((row) => row.t);
  const pick = (i) => rows.map((row) => (row.latency[name] ? row.latency[name][i] : null));
  const ms = (_, v) => (v === null || v === undefined ? "–" : v < 10 ? v.toFixed(1) + " ms" : Math.round(v) + " ms");
  const time = { value: (_, v) => (v ? new Date(v * 1000).toLocaleTimeString("en-GB") : "–") };
  draw("latency", name, { series: [time, line("our queue p99", "queue", { value: ms }), line("Gateway p99", "gateway", { value: ms }), line("Gateway p50", "gateway", { dash: [4, 4], width: 1, value: ms })], axes: axes((v) => (v >= 1000 ? seconds(v / 1000) : v + "ms")), scales: { y: { range: (_, __, high) => [0, Math.max(high * 1.1, 10)] } } },
    [t, pick(1), pick(3), pick(2)]);
}

export function budgets(rows) {
  const last = rows.length ? rows[rows.length - 1].budgets : {};
  const peak = (name) => Math.max(...rows.map((row) => row.budgets[name] || 0));
  const names = Object.keys(last).sort((a, b) => peak(b) - peak(a)).slice(0, 4).sort();
  const percent = (_, v) => (v === null || v === undefined ? "–" : Math.round(v * 100) + " %");
  const limit = line("limit", "red", { dash: [6, 4], width: 1, value: percent });
  draw("budgets", names, { series: [{ value: (_, v) => (v ? new Date(v * 1000).toLocaleTimeString("en-GB") : "–") }, ...names.map((name, i) => line(name.replaceAll("_", " "), ["accent", "amber", "queue", "green"][i], { value: percent })), limit], axes: axes((v) => Math.round(v * 100) + "%", 48), scales: { y: { range: (_, __, high) => [0, Math.max(1.08, high * 1.05)] } } },
    [rows.map((row) => row.t), ...names.map((name) => rows.map((row) => row.budgets[name] ?? null)), rows.map(() => 1)]);
}
