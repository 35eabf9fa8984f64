// The page's life: takes views from the stream, hands them to the panels, fetches what changes slowly. Only ever reads.

import { $, clock, el, fill, minute, show } from "./dom.js";
import * as charts from "./charts.js";
import * as panels from "./panels.js";

const ROWS_MAX = 900, EVENTS_MAX = 500, SILENT_MS = 8000;
let rows = [], events = [], chains = {}, view = null, heardAt = Date.now(), newestEvent = 0;

// The token is a cookie by now; it need not stand in the address bar and in the history.
if (location.search) history.replaceState(null, "", "/");

const kept = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  try { localStorage.setItem("theme", name); } catch { /* private windows keep nothing */ }
  charts.forget();
  drawCharts();
}
$("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "light" ? "dark" : "light"));

function listen() {
  const source = new EventSource("/stream");
  source.onmessage = (message) => {
    heardAt = Date.now();
    document.body.classList.remove("lost");
    const told = JSON.parse(message.data);
    view = told.view;
    addEvents(told.events);
    if (told.sample && (!rows.length || told.sample.t > rows[rows.length - 1].t)) rows.push(told.sample);
    if (rows.length > ROWS_MAX) rows.splice(0, rows.length - ROWS_MAX);
    drawPanels();
  };
}

function drawPanels() {
  panels.head(view); panels.problems(view); panels.gateway(view); panels.pacing(view); panels.latency(view); panels.streams(view);
  panels.engines(view); panels.orders(view); panels.money(view); panels.verdicts(view);
  const busiest = [...view.latency].sort((a, b) => b.gateway_ms.count - a.gateway_ms.count);
  offer($("latency-class"), busiest.map((one) => one.name).sort(), busiest.length ? busiest[0].name : "");
  charts.latency(rows, $("latency-class").value);
  charts.budgets(rows);
  fill($("foot"), document.createTextNode("epoch " + (view.epoch || "–").slice(0, 8) + " · updated " + clock(view.wall_ns) + " · read-only"));
}

/** Keep the choices of a select; the chosen one stays chosen. */
function offer(select, names, first = names[0]) {
  const key = names.join("\n");
  if (select.dataset.key === key) return;
  const chosen = select.value;
  select.dataset.key = key;
  fill(select, ...names.map((name) => el("option", { value: name }, name)));
  select.value = names.includes(chosen) ? chosen : first;
  select.hidden = !names.length;
}

function addEvents(fresh) {
  // A monitor that restarted counts from 1 again.
  if (fresh.length && fresh[fresh.length - 1].number < newestEvent) { events = []; newestEvent = 0; }
  const added = fresh.filter((event) => event.number > newestEvent);
  if (!added.length) return;
  newestEvent = added[added.length - 1].number;
  events = [...added.reverse(), ...events].slice(0, EVENTS_MAX);
  drawEvents();
}

function drawEvents() {
  const wanted = $("filter").value.toLowerCase();
  const shown = events.filter((event) => !wanted || [event.kind, event.subject, event.text, event.light].join(" ").toLowerCase().includes(wanted)).slice(0, 200);
  fill($("events"), ...(shown.length ? shown.map(panels.eventLine) : [el("div.none", "nothing yet")]));
}
$("filter").addEventListener("input", drawEvents);

async function read(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(path + ": " + answer.status);
  return answer.json();
}

async function readMarket() {
  const market = await read("/api/market?topic=" + encodeURIComponent($("topic").value));
  offer($("topic"), market.topics);
  if (market.topic) $("topic").value = market.topic;
  if (market.t.length) {
    charts.price(market);
    fill($("price-now"), document.createTextNode(market.close[market.close.length - 1].toFixed(2)));
  } else if (!$("price").firstElementChild) {
    $("price").classList.add("empty");
    fill($("price"), el("div", "no bars yet: nobody has asked for a stream"));
  }
}

async function readChains() {
  chains = await read("/api/chains");
  offer($("chain-symbol"), Object.keys(chains).sort());
  panels.chain(chains, $("chain-symbol").value);
}

async function readDay() {
  const day = await read("/api/day");
  const to = Date.now() / 1000, first = Math.max(to - 86400, day.stretches.length ? day.stretches[0][0] : to);
  // Early in the day a narrower window shows more.
  const hours = [0.25, 1, 4, 12, 24].find((span) => to - first <= span * 3600) || 24, from = to - hours * 3600, percent = hours * 36;
  fill($("strip-title"), document.createTextNode(hours < 1 ? "Last quarter of an hour" : hours === 1 ? "Last hour" : "Last " + hours + " hours"));
  fill($("strip"), ...day.stretches.filter(([, end]) => end > from).map(([start, end, light, state]) => {
    const left = Math.max(start, from);
    const cell = el("button.light-" + light, { type: "button", title: minute(start) + "–" + minute(end) + " " + state });
    cell.setAttribute("aria-label", cell.title);
    cell.style.left = ((left - from) / percent).toFixed(3) + "%";
    cell.style.width = ((end - left) / percent).toFixed(3) + "%";
    cell.addEventListener("click", () => stretch(day, start, end, light, state));
    return cell;
  }));
  fill($("strip-scale"), ...[0, 1, 2, 3, 4].map((part) => el("span", minute(from + part * hours * 900))));
}

/** What happened in one stretch of the strip: its events, verdicts first. */
function stretch(day, start, end, light, state) {
  const inside = day.events.filter((event) => event.wall_ns / 1e9 >= start - 15 && event.wall_ns / 1e9 <= end + 1);
  const weight = (event) => (event.kind === "verdict" ? 0 : event.light === "red" ? 1 : 2);
  const told = light === "green" ? inside : inside.filter((event) => event.light !== "green" || event.kind === "gateway");
  const lines = told.sort((a, b) => weight(a) - weight(b) || a.wall_ns - b.wall_ns).slice(0, 300).map(panels.eventLine);
  show(state + ", " + minute(start) + " to " + minute(end), ...(lines.length ? lines : [el("div.none", "no event was told in this time")]));
}

$("diagnose").addEventListener("click", async () => {
  $("diagnose").disabled = true;
  try { panels.verdict({ request_class: "", subject: "", timeline: {}, ...(await read("/api/diagnose")) }); } catch (error) { show("no answer", el("p", String(error.message))); }
  $("diagnose").disabled = false;
});
$("dialog-close").addEventListener("click", () => $("dialog").close());
$("dialog").addEventListener("click", (event) => { if (event.target === $("dialog")) $("dialog").close(); });
$("topic").addEventListener("change", () => readMarket().catch(() => {}));
$("chain-symbol").addEventListener("change", () => panels.chain(chains, $("chain-symbol").value));
$("latency-class").addEventListener("change", drawCharts);
new ResizeObserver(() => charts.resize()).observe(document.querySelector("main"));

function drawCharts() {
  if (view) { charts.latency(rows, $("latency-class").value); charts.budgets(rows); }
  readMarket().catch(() => {});
}

/** Every so often; a failure is only a missed look, the next one follows. */
function often(what, everyMs) {
  what().catch(() => {}).finally(() => setTimeout(() => often(what, everyMs), everyMs));
}

setInterval(() => {
  if (Date.now() - heardAt < SILENT_MS) return;
  document.body.classList.add("lost");
  $("verdict").className = "light-dark";
  fill($("state"), document.createTextNode("monitor not heard"));
}, 1000);

setTheme(kept("theme") || (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark"));
read("/api/series").then((earlier) => { rows = [...earlier, ...rows.filter((row) => !earlier.length || row.t > earlier[earlier.length - 1].t)]; }).catch(() => {}).finally(listen);
often(readMarket, 2000); often(readChains, 3000); often(readDay, 10000);
