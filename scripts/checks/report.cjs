// The checks of a page in `scripts/check report`: node report.cjs CHROMIUM PAGE [SCREENSHOTS]
"use strict";
const { pathToFileURL } = require("node:url");
const { join } = require("node:path");
const { chromium } = require("playwright-core");

const [executablePath, file, shots] = process.argv.slice(2);
const address = pathToFileURL(file).href;
const faults = new Set();

/** Looks at the page from inside; returns what is wrong with it, in words. */
function inspect() {
  const wrong = [];
  const words = (element) => (element?.textContent ?? "").trim();
  const say = (element) => `<${element.localName} id="${element.id}">`;
  for (const svg of document.querySelectorAll("svg")) {
    const [title, desc] = [svg.querySelector(":scope > title"), svg.querySelector(":scope > desc")];
    const hovers = svg.querySelectorAll(".mark > title, .target > title");
    if (![...hovers].some((hover) => /\d/.test(words(hover)))) wrong.push(`a picture without values under the pointer: ${words(title)}`);
    if (svg.getAttribute("role") !== "img") wrong.push(`a picture without role="img": ${words(title)}`);
    if (!words(title) || !words(desc)) wrong.push(`a picture without title and desc: ${svg.outerHTML.slice(0, 120)}`);
    const named = (svg.getAttribute("aria-labelledby") ?? "").split(/\s+/);
    if (!named.every((id) => words(document.getElementById(id)))) wrong.push(`a picture labelled by nothing: ${named}`);
    const { width, height } = svg.getBoundingClientRect();
    if (width < 100 || height < 50) wrong.push(`a picture of ${width} × ${height}: ${words(title)}`);
    if (/NaN|Infinity/.test(svg.innerHTML)) wrong.push(`a picture drawn with undefined numbers: ${words(title)}`);
  }
  for (const image of document.querySelectorAll("img")) {
    if (!image.hasAttribute("alt")) wrong.push(`an image without alt: ${image.src.slice(0, 80)}`);
  }
  for (const figure of document.querySelectorAll("figure")) {
    if (!words(figure.querySelector("figcaption"))) wrong.push(`a figure without caption: ${words(figure).slice(0, 60)}`);
    if (!figure.querySelector("details table")) wrong.push(`a figure without its numbers: ${words(figure).slice(0, 60)}`);
  }
  for (const table of document.querySelectorAll("table")) {
    if (!words(table.caption)) wrong.push(`a table without caption: ${words(table).slice(0, 60)}`);
    for (const heading of table.querySelectorAll("th:not([scope])")) wrong.push(`a heading without scope: ${words(heading)}`);
  }
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    const own = Number(heading.localName[1]);
    if (own > level + 1) wrong.push(`a heading that skips a level: ${words(heading)}`);
    level = own;
  }
  const ids = new Map();
  for (const element of document.querySelectorAll("[id]")) {
    if (ids.has(element.id)) wrong.push(`an id that is there twice: ${say(element)}`);
    ids.set(element.id, element);
  }
  for (const link of document.querySelectorAll("a[href^='#']")) {
    if (!ids.has(decodeURIComponent(link.hash.slice(1)))) wrong.push(`a link to nowhere: ${link.hash}`);
  }
  for (const landmark of ["main", "nav", "header", "footer"]) {
    if (document.querySelectorAll(landmark).length !== 1) wrong.push(`expected one <${landmark}>`);
  }
  if (!document.documentElement.lang) wrong.push("a page without language");
  if (document.scripts.length !== 1 || document.scripts[0].src) wrong.push("expected the one script that sorts tables");
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) wrong.push(`a page that is ${wide} px wider than its window`);

  // The contrast of WCAG 2.1 against the page: 4.5 for text, 3 for graphics.
  const probe = document.body.appendChild(document.createElement("i"));
  const luminance = (colour) => {
    probe.style.color = colour;
    const channels = getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map((channel) => channel / 255);
    const [red, green, blue] = channels.map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const surface = luminance("var(--plot-surface)");
  const least = { text: 4.5, axis: 4.5, first: 3, second: 3, third: 3, fourth: 3, fifth: 3, sixth: 3, reference: 3, limit: 3 };
  for (const [name, expected] of Object.entries(least)) {
    const own = luminance(`var(--plot-${name})`);
    const contrast = (Math.max(own, surface) + 0.05) / (Math.min(own, surface) + 0.05);
    if (contrast < expected) wrong.push(`--plot-${name} has a contrast of ${contrast.toFixed(2)}, expected ${expected}`);
  }
  probe.remove();
  return wrong;
}

/** Sorts every table by every column, both ways, and returns what is wrong with the order. */
function sort() {
  const wrong = [];
  let sorted = 0;
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    if (body.rows.length < 2) continue;
    const before = [...body.rows].map((row) => row.textContent).sort().join("\n");
    [...table.tHead.rows[0].cells].forEach((heading, place) => {
      const button = heading.querySelector("button");
      if (!button) return void wrong.push(`a heading that does not sort: ${heading.textContent}`);
      for (const way of ["ascending", "descending"]) {
        button.click();
        if (heading.getAttribute("aria-sort") !== way) wrong.push(`expected ${way} in ${heading.textContent}`);
        const values = [...body.rows].map((row) => row.cells[place].dataset.value);
        const numbers = values.filter((value) => value).map(Number);
        const sign = way === "ascending" ? 1 : -1;
        const isOrdered = numbers.every((value, at) => at === 0 || sign * (value - numbers[at - 1]) >= 0);
        const firstEmpty = values.indexOf("");
        const isLast = firstEmpty < 0 || values.slice(firstEmpty).every((value) => !value) || !numbers.length;
        if (!isOrdered || !isLast) wrong.push(`${heading.textContent} is not ${way}: ${values}`);
        sorted += numbers.length > 1;
      }
    });
    if ([...body.rows].map((row) => row.textContent).sort().join("\n") !== before) wrong.push("a table that lost rows");
  }
  if (!sorted) wrong.push("no table with numbers that could be sorted");
  return wrong;
}

/** Returns the text under the pointer in the middle of each mark that no other covers. */
function hovers() {
  const texts = [];
  for (const mark of document.querySelectorAll("svg .mark, svg .target")) {
    const { left, top, width, height } = mark.getBoundingClientRect();
    const hit = document.elementFromPoint(left + width / 2, top + height / 2);
    if (mark.contains(hit)) texts.push(hit.closest("g").querySelector("title")?.textContent ?? "");
  }
  return texts;
}

async function look(browser, name, options, media) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const fault = (what) => faults.add(`${name}: ${what}`);
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) fault(`console ${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => fault(`script error: ${error.message}`));
  page.on("request", (request) => {
    if (request.url() !== address && !request.url().startsWith("data:")) fault(`a request: ${request.url()}`);
  });
  await page.goto(address, { waitUntil: "load" });
  if (media) await page.emulateMedia(media);
  for (const what of await page.evaluate(inspect)) fault(what);
  if (name === "light") {
    for (const what of await page.evaluate(sort)) fault(what);
    await page.reload();
    await page.locator("svg").first().scrollIntoViewIfNeeded();
    const found = await page.evaluate(hovers);
    if (!found.some((text) => /\d/.test(text))) fault("no value appears under the pointer");
  }
  if (!media) {
    await page.keyboard.press("Tab");
    const first = await page.evaluate(() => document.activeElement?.getAttribute("href"));
    if (first !== "#main") fault(`the first stop of the Tab key is ${first}, expected the link that skips to the results`);
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement?.id === "main", null, { timeout: 5000 })
      .catch(() => fault("the link that skips to the results does not lead there"));
    await page.evaluate(() => scrollTo(0, 0));
  }
  if (shots) {
    await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
    if (name === "print") await page.pdf({ path: join(shots, "print.pdf"), format: "A4", printBackground: false });
  }
  await context.close();
}

(async () => {
  const profile = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"];
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", ...profile] });
  const wide = { width: 1280, height: 900 };
  await look(browser, "light", { viewport: wide, colorScheme: "light" });
  await look(browser, "dark", { viewport: wide, colorScheme: "dark" });
  await look(browser, "narrow", { viewport: { width: 390, height: 844 }, colorScheme: "light" });
  await look(browser, "print", { viewport: { width: 794, height: 1123 }, colorScheme: "dark" }, { media: "print" });
  await browser.close();
  for (const fault of faults) console.log(`FAULT ${fault}`);
  console.log(faults.size ? `${faults.size} faults in ${file}` : `${file}: nothing wrong in light, dark, narrow and print; tables sort, values appear under the pointer`);
  process.exitCode = faults.size ? 1 : 0;
})().catch((error) => {
  console.error(`report could not look: ${error.message}`);
  process.exitCode = 2;
});
