// The checks of `scripts/check latents-page`: node latents-page.cjs CHROMIUM FOLDER [SCREENSHOTS]
"use strict";
const { createServer } = require("node:http");
const { existsSync, readFileSync } = require("node:fs");
const { extname, join, normalize, sep } = require("node:path");
const { pathToFileURL } = require("node:url");
const { chromium } = require("playwright-core");

const [executablePath, folder, shots] = process.argv.slice(2);
const TYPES = { ".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript; charset=utf-8" };
const MOST_MILLISECONDS = 1000;
const NASTY = readFileSync(join(folder, "compare"), "utf8").replace(/=plain$/, "");
const faults = new Set();
let checked = 0;

function check(name, is, got) {
  checked += 1;
  if (!is) faults.add(`${name}${got === undefined ? "" : `: got ${JSON.stringify(got)}`}`);
}

/** A server of static files, which knows nothing else. */
function serve(root) {
  const server = createServer((request, response) => {
    const path = normalize(join(root, decodeURIComponent(new URL(request.url, "http://localhost").pathname)));
    if (!path.startsWith(root + sep) || !existsSync(path)) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "Content-Type": TYPES[extname(path)] ?? "application/octet-stream" }).end(readFileSync(path));
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

/** A page in a fresh profile, of which every console error, script error and request of another place is a fault. */
async function open(browser, name, root, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  const page = await context.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) faults.add(`${name}: console ${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => faults.add(`${name}: script error: ${error.message}`));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(root) && !url.startsWith("data:")) faults.add(`${name}: a request: ${url}`);
  });
  page.on("dialog", (dialog) => {
    faults.add(`${name}: a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  return page;
}

const hash = (view) => `#${new URLSearchParams(view)}`;

/** Waits until what the address says is shown. */
async function settled(page) {
  await page.waitForFunction(() => document.body.dataset.shown === location.hash || !document.getElementById("message").hidden, null, { timeout: 20000 });
}

async function goto(page, root, view) {
  await page.goto(`${root}index.html${hash(view)}`);
  await settled(page);
}

const press = async (page, key, waits = true) => {
  await page.keyboard.press(key);
  if (waits) await settled(page);
};

const latentsShown = (page) => page.$$eval("tbody tr[data-number] th a", (links) => links.map((link) => Number(link.textContent)));
const selected = (page) => page.$eval("tbody tr.selected a", (link) => Number(link.textContent));

async function search(page, query) {
  await page.fill("#query", query);
  await page.waitForFunction((query) => new URLSearchParams(location.hash.slice(1)).get("q") === (query || null), query);
  await settled(page);
  return latentsShown(page);
}

/** What is wrong with the page for those who do not see it, in words. */
function inspect() {
  const wrong = [];
  const words = (element) => (element?.textContent ?? "").trim();
  for (const field of document.querySelectorAll("input, select")) {
    if (!words(field.closest("label"))) wrong.push(`a field without label: ${field.id}`);
  }
  for (const button of document.querySelectorAll("button")) if (!words(button)) wrong.push("a button without name");
  for (const link of document.querySelectorAll("a")) if (!words(link)) wrong.push(`a link without name: ${link.href}`);
  for (const svg of document.querySelectorAll("svg")) {
    if (svg.getAttribute("role") !== "img" || !svg.getAttribute("aria-label")) wrong.push("a picture without name");
    if (/NaN|Infinity/.test(svg.innerHTML)) wrong.push("a picture drawn with undefined numbers");
  }
  for (const table of document.querySelectorAll("table")) if (!table.getAttribute("aria-label")) wrong.push("a table without name");
  for (const heading of document.querySelectorAll("th:not([scope])")) wrong.push(`a heading without scope: ${words(heading)}`);
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  if (new Set(ids).size !== ids.length) wrong.push("an id that is there twice");
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
    if (heading.closest("[hidden]")) continue;
    const own = Number(heading.localName[1]);
    if (own > level + 1) wrong.push(`a heading that skips a level: ${words(heading)}`);
    level = own;
  }
  for (const landmark of ["main", "header"]) if (document.querySelectorAll(`body > ${landmark}`).length !== 1) wrong.push(`expected one <${landmark}>`);
  if (!document.documentElement.lang) wrong.push("a page without language");
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) wrong.push(`a page that is ${wide} px wider than its window`);
  if (/undefined|NaN|\[object/.test(document.body.innerText)) wrong.push("a text that says undefined, NaN or [object");

  // The contrast of WCAG 2.1 of texts against the page.
  const probe = document.body.appendChild(document.createElement("i"));
  const luminance = (colour) => {
    probe.style.color = `var(--${colour})`;
    const channels = getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map((channel) => channel / 255);
    const [red, green, blue] = channels.map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  for (const [text, ground] of [["text", "surface"], ["quiet", "surface"], ["accent", "surface"], ["text", "row"], ["text", "chosen"], ["quiet", "chosen"], ["accent", "chosen"]]) {
    const [one, other] = [luminance(text), luminance(ground)];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) wrong.push(`--${text} on --${ground} has a contrast of ${contrast.toFixed(2)}, expected 4.5`);
  }
  probe.remove();
  return wrong;
}

async function inspected(page, name) {
  for (const what of await page.evaluate(inspect)) faults.add(`${name}: ${what}`);
  check(`${name}: markup of the corpus is executed`, (await page.evaluate(() => window.broken)) === undefined);
}

/** What a reader does, on the small page of hostile texts. */
async function use(browser, name, root) {
  const page = await open(browser, name, root);
  await goto(page, root, {});
  check(`${name}: latents of the table`, (await latentsShown(page)).slice(0, 3).join() === "0,1,2");
  check(`${name}: the name of an SAE`, (await page.$eval("#sae", (select) => select.selectedOptions[0].textContent)) === NASTY);
  await inspected(page, `${name}: table`);

  await press(page, "/", false);
  check(`${name}: / goes to the search`, (await page.evaluate(() => document.activeElement.id)) === "query");
  const hay = await search(page, "hay");
  check(`${name}: a token is found`, hay.length > 0 && hay.includes(5), hay);
  check(`${name}: an explanation comes before tokens`, hay[0] === 5, hay);
  check(`${name}: markup is a token`, (await search(page, "onerror=")).length > 0);
  check(`${name}: a number is found`, (await search(page, "17"))[0] === 17);
  check(`${name}: nothing is found`, (await search(page, "no such words")).length === 0);
  await search(page, "");
  await press(page, "Escape", false);
  check(`${name}: Esc leaves the search`, (await page.evaluate(() => document.activeElement.id)) !== "query");

  await page.click("th.max button");
  await settled(page);
  const figures = await page.$$eval("tbody td.max", (cells) => cells.map((cell) => cell.textContent));
  const numbers = figures.filter((figure) => figure !== "–").map(Number);
  check(`${name}: order`, numbers.every((number, place) => place === 0 || number <= numbers[place - 1]), numbers);
  check(`${name}: sorted for those who do not see it`, (await page.getAttribute("th.max", "aria-sort")) === "descending");
  await press(page, "j", false);
  await press(page, "ArrowDown", false);
  await press(page, "k", false);
  const [, second, third] = await latentsShown(page);
  check(`${name}: j and k move`, (await selected(page)) === second, await selected(page));
  await press(page, "Enter");
  await page.waitForSelector("#latent h2");
  check(`${name}: Enter opens`, (await page.textContent("#name")).endsWith(`/ ${second}`), await page.textContent("#name"));
  check(`${name}: the address can be shared`, new URL(page.url()).hash.includes(`latent=${second}`) && page.url().includes("sort=max"));
  await inspected(page, `${name}: latent`);
  await press(page, "n");
  await page.waitForFunction((name) => document.querySelector("#name").textContent.endsWith(name), `/ ${third}`);
  await press(page, "p");
  await page.waitForFunction((name) => document.querySelector("#name").textContent.endsWith(name), `/ ${second}`);
  await press(page, "Escape");
  check(`${name}: Esc goes back to the row`, (await selected(page)) === second);

  await goto(page, root, { latent: 5 });
  const text = await page.innerText("#latent");
  for (const words of [`${NASTY.replace("nasty", "")}`.trim(), "<img src=x onerror", "score 0.5", "↵", "é", "Sampled examples", "Co-firing", "nats over", "Raises", "subset"]) {
    check(`${name}: the latent's page has ${words}`, text.includes(words.replace(/\u2028/g, "")) || text.includes(words), text.slice(0, 0));
  }
  check(`${name}: tints`, (await page.$$eval(".context strong", (tokens) => tokens.length)) === 6);
  check(`${name}: tints say how much`, (await page.getAttribute(".context strong", "title")).startsWith("3.00, token"));
  await goto(page, root, { latent: 3 });
  const dashes = await page.$$eval("#latent .none", (dashes) => dashes.map((dash) => dash.title));
  check(`${name}: a dead latent has dashes with a reason`, dashes.includes("it never fires"), dashes);
  await goto(page, root, { least: "0.001", dead: "without", section: "rollout", ratio: "1", sort: "ratio" });
  const ratios = await page.$$eval("tbody td.ratio", (cells) => cells.map((cell) => Number(cell.textContent.slice(1).replace(",", ""))));
  check(`${name}: filters`, ratios.length > 0 && ratios.length < 40 && ratios.every((ratio) => ratio >= 1), ratios);
  check(`${name}: filters are told`, (await page.textContent("#filter-button")) === "Filters (4)");

  await goto(page, root, { sae: NASTY, latent: 7, with: "plain" });
  check(`${name}: what changed`, /as often/.test(await page.innerText("#latent")));
  check(`${name}: both sides`, (await page.$$eval(".side", (sides) => sides.length)) === 2);
  check(`${name}: the other's explanation`, (await page.innerText("#latent")).includes("barns"));
  await inspected(page, `${name}: comparison`);
  await goto(page, root, { with: "plain", sort: "change" });
  await inspected(page, `${name}: table of a comparison`);
  await goto(page, root, { least: "a few" });
  check(`${name}: a limit that is no number is told`, (await page.textContent("#count")).includes("do not filter: a few"));
  await goto(page, root, { with: "none" });
  check(`${name}: a comparison that is none`, (await page.textContent("#message")).includes("does not compare"));
  await goto(page, root, { latent: "1e9" });
  check(`${name}: a latent that is none`, (await page.textContent("#message")).includes("has latents 0 to 39"));
  await goto(page, root, { sae: "none" });
  check(`${name}: an SAE that is none`, (await page.textContent("#message")).includes("has no SAE none"));
  await page.context().close();

  const bare = await open(browser, `${name}: without scripts`, root, { javaScriptEnabled: false });
  await bare.goto(`${root}index.html`);
  check(`${name}: without scripts it says so`, (await bare.content()).includes("This page needs JavaScript"));
  await bare.context().close();
}

/** A page of files without texts and with fewer columns. */
async function useIds(browser, root) {
  const page = await open(browser, "ids", root);
  await goto(page, root, {});
  const reasons = await page.$$eval("tbody td.mean .none", (dashes) => dashes.map((dash) => dash.title));
  check("ids: a missing column has dashes with a reason", reasons.length > 0 && reasons.every((reason) => reason === "latents.parquet has no column mean"), reasons[0]);
  const [first] = await page.$$eval("tbody .label .token", (tokens) => tokens.map((token) => token.textContent));
  check("ids: ids in place of texts", /^\d+$/.test(first), first);
  check("ids: an id is found", (await search(page, first)).length > 0);
  await goto(page, root, { latent: 1 });
  check("ids: missing lists are told", (await page.innerText("#latent")).includes("latents.parquet has no column nearest"));
  await inspected(page, "ids");
  await page.context().close();
}

/** Times a large page: medians of five openings, from the start of the page's loading. */
async function measure(browser, name, root) {
  const times = { "first paint of the table": [], search: [], "latent's page": [], order: [] };
  for (let turn = 0; turn < 5; turn += 1) {
    const page = await open(browser, name, root);
    await page.goto(`${root}index.html`);
    await page.waitForSelector("tbody .token");
    times["first paint of the table"].push(await page.evaluate(() => performance.now()));
    const time = async (act, shows) => {
      const began = await page.evaluate(() => performance.now());
      await act();
      await page.waitForFunction(shows, null, { polling: "raf" });
      return (await page.evaluate(() => performance.now())) - began;
    };
    times.search.push(await time(() => page.fill("#query", "word4999"), () => document.getElementById("count").textContent.includes(" of 131,072") && document.querySelector("tbody .token")));
    times.order.push(await time(() => page.click("th.density button"), () => document.querySelector("th.density").getAttribute("aria-sort") === "descending"));
    check(`${name}: rows in the document`, (await page.$$eval("tbody tr", (rows) => rows.length)) < 100);
    await page.goto("about:blank");
    await page.goto(`${root}index.html${hash({ latent: 100000 + turn })}`);
    await page.waitForSelector("#latent .context strong");
    times["latent's page"].push(await page.evaluate(() => performance.now()));
    await page.context().close();
  }
  for (const [what, all] of Object.entries(times)) {
    const median = all.sort((one, other) => one - other)[2];
    console.log(`131,072 latents, ${name}: ${what} ${Math.round(median)} ms (median of 5, at most ${Math.round(all[4])})`);
    check(`${name}: ${what} in less than ${MOST_MILLISECONDS} ms`, median < MOST_MILLISECONDS, Math.round(median));
  }
}

async function photograph(browser, name, root, views) {
  const looks = { light: [1280, 860, "light"], dark: [1280, 860, "dark"], narrow: [390, 780, "light"] };
  for (const [look, [width, height, colorScheme]] of Object.entries(looks)) {
    const page = await open(browser, `${name} ${look}`, root, { viewport: { width, height }, colorScheme });
    for (const [what, view] of Object.entries(views)) {
      await goto(page, root, view);
      await page.waitForTimeout(200);
      await inspected(page, `${name} ${look} ${what}`);
      if (shots) await page.screenshot({ path: join(shots, `${name}-${what}-${look}.png`), fullPage: what !== "table" });
    }
    await page.context().close();
  }
}

(async () => {
  const profile = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"];
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", ...profile] });
  const fromDisk = (page) => pathToFileURL(join(folder, page) + sep).href;
  const server = await serve(folder);
  const fromServer = (page) => `http://127.0.0.1:${server.address().port}/${page}/`;
  await use(browser, "disk", fromDisk("small-page"));
  await use(browser, "server", fromServer("small-page"));
  await useIds(browser, fromDisk("ids-page"));
  const views = { table: { sort: "max" }, latent: { latent: 5 }, comparison: { latent: 7, with: "plain" } };
  await photograph(browser, "made-up", fromDisk("small-page"), views);
  if (existsSync(join(folder, "real-page"))) {
    await photograph(browser, "real", fromDisk("real-page"), { table: {}, search: { q: "the", section: "text" }, latent: { latent: 323 }, changes: { with: "chat", sort: "change" }, comparison: { latent: 323, with: "chat" } });
  }
  await measure(browser, "disk", fromDisk("large-page"));
  await measure(browser, "server", fromServer("large-page"));
  server.close();
  await browser.close();
  for (const fault of faults) console.log(`FAULT ${fault}`);
  console.log(faults.size ? `${faults.size} faults` : `${checked} checks: nothing wrong from disk and from a server, in light, dark and narrow form`);
  process.exitCode = faults.size ? 1 : 0;
})().catch((error) => {
  for (const fault of faults) console.log(`FAULT ${fault}`);
  console.error(`latents-page could not look: ${error.stack}`);
  process.exit(2);
});
