// The table: rows by filter, search and order, of which only those in sight are in the document.
"use strict";

hayloft.table = (() => {
  const { element, count, shown, times, token, reason } = hayloft.words;

  const ROW = 36;
  /** Rows beside those in sight. */
  const MARGIN = 12;
  /** Browsers draw nothing below some 17 million pixels: a longer table moves by more than a row a row. */
  const MOST_HEIGHT = 8e6;

  /** What the address limits by numbers. */
  const LIMITS = ["least", "most", "ratio", "near"];

  const rows = document.getElementById("rows");
  const head = document.querySelector("#table thead");
  const body = document.querySelector("#table tbody");
  const counted = document.getElementById("count");

  let shownTable = null;
  let order = new Uint32Array();
  let selected = 0;
  let drawing = 0;

  /** The table's columns: keys of the address, headings, and the figures that they sort by. */
  function columnsOf({ sae, section, pair }) {
    const columns = [
      { key: "latent", title: "Latent" },
      { key: "label", title: sae.explanations > 0 ? "Tokens and explanation" : "Tokens" },
      { key: "density", title: "Density", about: "share of tokens at which it fires" },
    ];
    if (section >= 0) {
      const name = sae.sections[section].name;
      columns.push({ key: "ratio", title: `In ${name}`, about: `density in section ${name} over density overall`, format: times });
    }
    if (pair) {
      columns.push({ key: "other", title: `Density in ${pair.other.name}`, about: "density of the latent that it is compared with" });
      columns.push({ key: "change", title: "Change", about: `density in ${pair.other.name} over that in ${sae.name}`, format: times });
      if (pair.cosines) columns.push({ key: "cosine", title: "Match", about: "cosine with the latent that it is compared with" });
    }
    columns.push({ key: "mean", title: "Mean", about: "mean activation where it fires", less: true });
    columns.push({ key: "max", title: "Max", about: "largest activation" });
    if (!pair) columns.push({ key: "nearest", title: "Nearest", about: "largest cosine with another latent’s decoder direction", less: true });
    if (!sae.missing.includes("ablation")) columns.push({ key: "ablation", title: "Ablation", about: "change of the next-token loss in nats where it fires, when it is set to zero", less: true });
    return columns;
  }

  /** The figures that rows sort and filter by, a number a latent. */
  async function figuresOf({ place, sae, section, pair }) {
    const firings = await hayloft.column(`${place}/firings`);
    const density = firings.map((own) => own / sae.tokens);
    const names = ["mean", "max", "nearest", ...(sae.missing.includes("ablation") ? [] : ["ablation"])];
    const columns = await Promise.all(names.map((name) => hayloft.column(`${place}/${name}`)));
    const figures = { latent: firings.map((_, latent) => latent), firings, density };
    names.forEach((name, number) => { figures[name] = columns[number]; });
    if (section >= 0) {
      const own = await hayloft.column(`${place}/section-${section}`);
      figures.ratio = own.map((firings, latent) => firings / sae.sections[section].tokens / density[latent]);
    }
    if (pair) {
      const others = await hayloft.column(`${pair.place}/firings`);
      figures.other = density.map((_, latent) => {
        const match = pair.matchOf(latent);
        return match === null ? NaN : others[match] / pair.other.tokens;
      });
      figures.change = density.map((own, latent) => (own > 0 ? figures.other[latent] / own : NaN));
      if (pair.cosines) figures.cosine = pair.cosines;
    }
    return figures;
  }

  /** A number of the address; null where it says none. */
  const limit = (text) => (text.trim() === "" || Number.isNaN(Number(text)) ? null : Number(text));

  function orderOf(figures, found, { view, section }) {
    const [least, most, ratio, near] = LIMITS.map((key) => limit(view[key]));
    const kept = [];
    for (let latent = 0; latent < figures.latent.length; latent += 1) {
      const isDead = figures.firings[latent] === 0;
      if (found && !found.has(latent)) continue;
      if (least !== null && !(figures.density[latent] >= least)) continue;
      if (most !== null && !(figures.density[latent] <= most)) continue;
      if (ratio !== null && section >= 0 && !(figures.ratio[latent] >= ratio)) continue;
      if (near !== null && !(figures.nearest[latent] >= near)) continue;
      if (view.dead === (isDead ? "without" : "only")) continue;
      kept.push(latent);
    }
    const key = figures[view.sort] ? view.sort : "";
    if (!key && !found) return Uint32Array.from(kept);
    // Undefined figures come last, in either direction.
    const sign = key ? (view.order === "up" ? 1 : -1) : -1;
    const value = Float64Array.from(kept, (latent) => sign * (key ? figures[key][latent] : found.get(latent)));
    const places = Uint32Array.from(kept.keys()).sort((one, other) => {
      const [left, right] = [value[one], value[other]];
      if (left !== left || right !== right) return (left !== left) - (right !== right) || one - other;
      return left - right || one - other;
    });
    return places.map((place) => kept[place]);
  }

  /** Shows the table of a view; `false` where a newer one came between. */
  async function show(context, isCurrent) {
    const { view, place, sae } = context;
    const [figures, found] = await Promise.all([figuresOf(context), hayloft.search(place, sae, view.q)]);
    if (!isCurrent()) return false;
    const table = hayloft.address.hash(view, { latent: "" });
    const isSame = shownTable?.table === table;
    order = orderOf(figures, found, context);
    if (!isSame) selected = 0;
    shownTable = { ...context, table, figures, columns: columnsOf(context) };
    drawHead();
    rows.hidden = false;
    if (!isSame) rows.scrollTop = 0;
    const filtered = order.length === sae.width ? "" : ` of ${count(sae.width)}`;
    counted.textContent = `${count(order.length)}${filtered} latents, ${count(sae.tokens)} tokens${sae.dead > 0 ? `, ${count(sae.dead)} dead` : ""}`;
    if (order.length === 0) counted.textContent += noneFound(context);
    const unread = LIMITS.filter((key) => view[key].trim() !== "" && limit(view[key]) === null).map((key) => view[key]);
    if (view.ratio !== "" && context.section < 0) unread.push("a ratio without a section");
    if (unread.length > 0) counted.textContent += `. These limits do not filter: ${unread.join(", ")}`;
    draw();
    return true;
  }

  function noneFound({ view, sae }) {
    if (view.q && sae.terms === 0) return ". There are no top examples, whose tokens could be searched";
    if (view.q && sae.has_texts) return ". Tokens of one or two letters are found whole, longer ones by a part";
    return view.q ? ". The files have no texts of tokens: search by ids" : "";
  }

  function drawHead() {
    const { columns, view } = shownTable;
    head.replaceChildren(element("tr", { "aria-rowindex": 1 }, columns.map(({ key, title, about, less }) => {
      const isSorted = view.sort === key;
      const sorted = isSorted ? (view.order === "up" ? "ascending" : "descending") : "none";
      const next = isSorted && view.order !== "up" ? "up" : "";
      const sort = () => hayloft.address.replace(view, { sort: key, order: key === "latent" && !isSorted ? "up" : next });
      const name = key === "label" ? title : element("button", { type: "button", title: about, click: sort }, title, element("span", { class: "arrow", "aria-hidden": "true" }, isSorted ? (view.order === "up" ? " ↑" : " ↓") : ""));
      return element("th", { scope: "col", class: classOf(key, less), "aria-sort": key === "label" ? null : sorted }, name);
    })));
  }

  const classOf = (key, less) => `${key}${less ? " less" : ""}`;

  /** The first row in sight, and how far rows are from where the table's height puts them. */
  function place() {
    const height = order.length * ROW;
    const inSight = rows.clientHeight - head.offsetHeight;
    if (height <= MOST_HEIGHT) return { first: Math.floor(rows.scrollTop / ROW), height };
    const share = rows.scrollTop / (MOST_HEIGHT - inSight);
    return { first: Math.floor(Math.min(1, share) * Math.max(0, order.length - inSight / ROW)), height: MOST_HEIGHT };
  }

  function draw() {
    if (!shownTable) return;
    const { first, height } = place();
    const start = Math.max(0, first - MARGIN);
    const end = Math.min(order.length, first + Math.ceil(rows.clientHeight / ROW) + MARGIN);
    const above = height > order.length * ROW - 1 ? start * ROW : Math.max(0, rows.scrollTop - (first - start) * ROW);
    const made = [];
    for (let number = start; number < end; number += 1) made.push(row(number));
    const inSight = [...head.querySelectorAll("th")].filter((heading) => heading.offsetWidth > 0).length;
    const space = (pixels) => element("tr", { class: "space", "aria-hidden": "true" }, element("td", { colspan: inSight, height: Math.max(0, pixels) }));
    const table = document.getElementById("table");
    table.setAttribute("aria-rowcount", order.length + 1);
    body.replaceChildren(space(above), ...made, space(height - above - (end - start) * ROW));
    drawing += 1;
    label(drawing, made, start);
  }

  function row(number) {
    const { sae, view, columns, figures } = shownTable;
    const latent = order[number];
    const cells = columns.map(({ key, format, less }) => {
      if (key === "latent") {
        return element("th", { scope: "row", class: "latent" }, element("a", { href: hayloft.address.hash(view, { sae: sae.name, latent }) }, String(latent)));
      }
      if (key === "label") return element("td", { class: "label" });
      return element("td", { class: classOf(key, less) }, shown(figures[key][latent], why(key, latent), format));
    });
    return element("tr", { "aria-rowindex": number + 2, class: number === selected ? "selected" : null, "data-number": number }, cells);
  }

  function why(key, latent) {
    const { sae, pair, figures } = shownTable;
    if (key === "other" || key === "cosine") return pair && pair.other.tokens === 0 ? "no tokens count" : "no latent matches it";
    if (key === "nearest" && !sae.missing.includes("nearest")) return "no latents are listed as near";
    if (key === "ablation" && !sae.missing.includes("ablation")) return "it was not ablated, or never fires";
    return reason(sae, key, figures.firings[latent]);
  }

  /** Fills in tokens and explanations when they are loaded, unless the rows are gone. */
  async function label(drawn, made, start) {
    const { place, sae } = shownTable;
    await Promise.all(made.map(async (row, number) => {
      const { item } = await hayloft.item(`${place}/labels`, sae.labels, order[start + number]);
      if (drawn !== drawing) return;
      const [explanation] = item.explanations;
      row.querySelector(".label").replaceChildren(
        ...item.tokens.map(token),
        ...(explanation ? [element("span", { class: "explanation", title: explanation.text }, explanation.text)] : []),
      );
    }));
  }

  /** Moves the selection by rows, and the focus with it. */
  function move(by) {
    if (order.length === 0) return;
    selected = Math.min(order.length - 1, Math.max(0, selected + by));
    reveal();
    body.querySelector("tr.selected a")?.focus({ preventScroll: true });
  }

  function reveal() {
    const inSight = rows.clientHeight - head.offsetHeight;
    const height = order.length * ROW;
    const top = height <= MOST_HEIGHT ? selected * ROW : (selected / Math.max(1, order.length - inSight / ROW)) * (MOST_HEIGHT - inSight);
    if (top < rows.scrollTop) rows.scrollTop = top;
    if (top + ROW > rows.scrollTop + inSight) rows.scrollTop = top + ROW - inSight;
    draw();
  }

  /** The latent of the selected row. */
  const current = () => order[selected];

  /** The latent so many rows from another, in the table's order; undefined beyond its ends. */
  function near(latent, by) {
    const place = order.indexOf(latent);
    return place < 0 ? undefined : order[place + by];
  }

  let frame = 0;
  const redraw = () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(draw);
  };
  rows.addEventListener("scroll", redraw, { passive: true });
  addEventListener("resize", redraw);
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-number]");
    if (!row || getSelection().toString()) return;
    selected = Number(row.dataset.number);
    if (!event.target.closest("a")) hayloft.address.go(shownTable.view, { latent: order[selected] });
  });

  function select(latent) {
    const place = order.indexOf(latent);
    if (place >= 0) selected = place;
    reveal();
    body.querySelector("tr.selected a")?.focus({ preventScroll: true });
  }

  return { show, move, current, near, select, redraw };
})();
