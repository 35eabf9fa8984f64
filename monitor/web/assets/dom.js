// Builds page elements. Everything that came from outside becomes a text node, never markup.

export const $ = (id) => document.getElementById(id);

/** el("td.num", "12") or el("tr", {onclick}, child, …): tag with classes, optional properties, children. */
export function el(name, ...children) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  for (const child of children) {
    if (child === null || child === undefined || child === "") continue;
    if (Array.isArray(child)) node.append(...child);
    else if (child instanceof Node) node.append(child);
    else if (typeof child === "object") Object.assign(node, child);
    else node.append(document.createTextNode(String(child)));
  }
  return node;
}

export function fill(node, ...children) {
  node.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
}

/** Like fill, but leaves the node alone while its key is the same: no flicker, no lost scroll position or selection. */
export function fillIfNew(node, key, make) {
  const text = JSON.stringify(key);
  if (node.dataset.key === text) return;
  const scrolled = node.firstElementChild ? node.firstElementChild.scrollTop : 0;
  node.dataset.key = text;
  fill(node, make());
  if (scrolled && node.firstElementChild) node.firstElementChild.scrollTop = scrolled;
}

/** heads: ["name", "number#", "hidden on phones?"]; rows: arrays of text or nodes, or {cells, open, cls}. */
export function table(heads, rows, nothing) {
  if (!rows.length) return el("div.none", nothing);
  const marks = heads.map((head) => (head.includes("#") ? ".num" : "") + (head.includes("?") ? ".may-hide" : "") + (head.includes("~") ? ".wrap" : ""));
  const head = el("tr", heads.map((text, i) => el("th" + marks[i], text.replace(/[#?~]/g, ""))));
  const body = rows.map((row) => {
    const cells = (row.cells || row).map((cell, i) => el("td" + marks[i], cell));
    const line = el("tr" + (row.cls ? "." + row.cls : ""), cells);
    if (row.open) opens(line, row.open);
    return line;
  });
  return el("div.scroll", el("table", el("thead", head), el("tbody", body)));
}

function opens(line, open) {
  line.classList.add("open-me");
  line.tabIndex = 0;
  line.addEventListener("click", open);
  line.addEventListener("keydown", (event) => { if (event.key === "Enter") open(); });
}

export const chip = (light, text) => el("span.chip.light-" + light, text);
export const facts = (pairs) => el("dl.facts", pairs.filter(([, value]) => value !== null && value !== "").flatMap(([name, value]) => [el("dt", name), el("dd", value)]));

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 9.95) return value.toFixed(1) + "s";
  const whole = Math.round(value);
  if (whole < 60) return whole + "s";
  if (whole < 3600) return Math.floor(whole / 60) + "m" + String(whole % 60).padStart(2, "0") + "s";
  if (whole < 86400) return Math.floor(whole / 3600) + "h" + String(Math.floor((whole % 3600) / 60)).padStart(2, "0") + "m";
  return Math.floor(whole / 86400) + "d" + Math.floor((whole % 86400) / 3600) + "h";
}
export function millis(value) {
  if (value === null || value === undefined) return "–";
  if (value < 9.95) return value.toFixed(1) + "ms";
  return value < 1000 ? Math.round(value) + "ms" : seconds(value / 1000);
}
export const number = (value, digits = 2) => (value === null || value === undefined ? "–" : Number(value).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
export const signed = (value) => (value === null || value === undefined ? "–" : (value > 0 ? "+" : "") + number(value));
export const profit = (value) => el("span." + (value > 0 ? "up" : value < 0 ? "down" : "dim"), signed(value));
export const clock = (ns) => new Date(ns / 1e6).toLocaleTimeString("en-GB");
// Fills and orders carry market time, which a simulator lets run faster than ours.
export const marketClock = (ns) => new Date(ns / 1e6).toLocaleTimeString("en-GB", { timeZone: "America/New_York" });
export const minute = (s) => new Date(s * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

export function show(title, ...body) {
  fill($("dialog-title"), document.createTextNode(title));
  fill($("dialog-body"), ...body);
  if (!$("dialog").open) $("dialog").showModal();
}
