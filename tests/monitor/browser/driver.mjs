// A browser on a leash: reads one JSON command a line, answers with one JSON line. See browser/driver.py.
// Uses the Chromium of this machine; playwright-core brings none of its own.
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const browser = await chromium.launch({ executablePath: process.argv[2], args: ["--no-sandbox", "--disable-dev-shm-usage"] });
let page, context, origin;
const complaints = [];

async function open({ url, width, height, theme }) {
  if (context) await context.close();
  origin = new URL(url).origin;
  context = await browser.newContext({ viewport: { width, height }, colorScheme: theme });
  page = await context.newPage();
  page.setDefaultTimeout(15000);
  page.on("console", (line) => { if (["error", "warning"].includes(line.type())) complaints.push(line.text()); });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => { if (!request.url().startsWith(origin + "/")) complaints.push("external request: " + request.url()); });
  await page.goto(url);
}

const commands = {
  open,
  url: () => page.url(),
  text: ({ at }) => page.innerText(at),
  click: ({ at }) => page.click(at),
  fill: ({ at, value }) => page.fill(at, value),
  wait: async ({ at }) => { await page.waitForSelector(at, { state: "visible" }); },
  count: ({ at }) => page.locator(at).count(),
  overflow: () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth),
  // How many different colours a canvas holds: 1 means that nothing was drawn.
  colours: ({ at }) => page.evaluate((where) => {
    const canvas = document.querySelector(where + " canvas");
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const seen = new Set();
    for (let i = 0; i < data.length; i += 4) seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
    return seen.size;
  }, at),
  background: () => page.evaluate(() => getComputedStyle(document.body).backgroundColor),
  screenshot: async ({ path }) => { await page.screenshot({ path, fullPage: true }); },
  complaints: () => complaints,
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...args } = JSON.parse(line);
  let answer;
  try { answer = { ok: true, value: (await commands[command](args)) ?? null }; } catch (error) { answer = { ok: false, value: String(error) }; }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
await browser.close();
