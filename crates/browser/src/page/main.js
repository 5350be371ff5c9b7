// What is shown: the address says it, and everything that changes it changes the address.
"use strict";

hayloft.load("page").then((contents) => {
  const { element } = hayloft.words;
  const byId = (id) => document.getElementById(id);
  const { address } = hayloft;
  const FILTERS = ["least", "most", "section", "ratio", "dead", "near"];
  const PAUSE = 150;

  let showing = 0;
  let view = address.read();
  let lastLatent = null;

  byId("sae").append(...contents.saes.map((sae) => element("option", { value: sae.name }, sae.name)));

  /** Shows what the address says. */
  async function show() {
    // The link that skips to the content is no view.
    if (location.hash === "#main") return;
    view = address.read();
    const number = (showing += 1);
    const isCurrent = () => number === showing;
    byId("message").hidden = true;
    try {
      const place = view.sae === "" ? 0 : contents.saes.findIndex((sae) => sae.name === view.sae);
      if (place < 0) throw new Error(`This page has no SAE ${view.sae}. It has ${contents.saes.map((sae) => sae.name).join(", ")}.`);
      const sae = contents.saes[place];
      const latent = view.latent === "" ? null : Number(view.latent);
      if (latent !== null && !(Number.isInteger(latent) && latent >= 0 && latent < sae.width)) {
        throw new Error(`${sae.name} has latents 0 to ${sae.width - 1}, not ${view.latent}.`);
      }
      const section = sae.sections.findIndex((own) => own.name === view.section);
      const pair = view.with === "" ? null : await hayloft.compare.pairOf(contents, place, view.with);
      if (view.with !== "" && !pair) throw new Error(`This page does not compare ${sae.name} with ${view.with}. Make it with --compare ${sae.name}=${view.with}.`);
      if (view.section !== "" && section < 0) throw new Error(`${sae.name} has no section ${view.section}.`);
      const context = { contents, view, place, sae, section, pair };
      fillForm(context);
      if (!(await hayloft.table.show(context, isCurrent))) return;
      const isTable = latent === null;
      document.body.classList.toggle("table", isTable);
      byId("rows").hidden = !isTable;
      if (isTable) {
        byId("latent").hidden = true;
        document.title = `${sae.name}: latents`;
        if (lastLatent === null) hayloft.table.redraw();
        else hayloft.table.select(lastLatent);
      } else {
        if (!(await hayloft.latent.show(context, latent, isCurrent))) return;
        document.title = `${sae.name} / ${latent}`;
        scrollTo(0, 0);
        byId("name").focus({ preventScroll: true });
      }
      lastLatent = latent;
      document.body.dataset.shown = location.hash;
    } catch (error) {
      if (!isCurrent()) return;
      byId("message").textContent = error.message;
      byId("message").hidden = false;
      byId("rows").hidden = true;
      byId("latent").hidden = true;
    }
  }

  /** Sets the controls to what the address says. */
  function fillForm({ sae, place, section, pair }) {
    byId("sae").value = sae.name;
    const partners = hayloft.compare.partners(contents, place).map((own) => contents.saes[own.place].name);
    byId("with-label").hidden = partners.length === 0;
    byId("with").replaceChildren(element("option", { value: "" }, "no other"), ...partners.map((name) => element("option", { value: name }, name)));
    byId("with").value = pair ? pair.other.name : "";
    byId("section").replaceChildren(element("option", { value: "" }, "any"), ...sae.sections.map(({ name }) => element("option", { value: name }, name)));
    byId("section-label").hidden = sae.sections.length < 2;
    byId("ratio-label").hidden = section < 0;
    const query = byId("query");
    query.placeholder = `Search ${sae.explanations > 0 ? "tokens, numbers, explanations" : "tokens and numbers"}`;
    if (document.activeElement !== query) query.value = view.q;
    for (const key of FILTERS) {
      if (document.activeElement !== byId(key) || byId(key).localName === "select") byId(key).value = view[key];
    }
    const set = FILTERS.filter((key) => view[key] !== "").length;
    byId("filter-button").textContent = set > 0 ? `Filters (${set})` : "Filters";
    about(sae);
  }

  /** How the files of an SAE were made. */
  function about(sae) {
    const facts = [["Files", sae.folder], ["SAE in the files", sae.own_name], ["Latents", String(sae.width)]];
    const add = (name, value) => {
      if (value === null || value === undefined) return;
      if (Array.isArray(value)) {
        if (value.every((own) => typeof own !== "object")) facts.push([name, value.join(", ")]);
        else value.forEach((own, number) => add(`${name} ${number + 1}`, own));
      } else if (typeof value === "object") {
        for (const [key, own] of Object.entries(value)) add(name ? `${name} · ${key}` : key, own);
      } else {
        facts.push([name, String(value)]);
      }
    };
    add("", sae.run);
    const { most_frequent: _, ...own } = sae.about ?? {};
    add("", own);
    if (sae.run === null) facts.push(["Record", "the files do not say how they were made"]);
    byId("about").replaceChildren(element("dl", {}, facts.map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])));
  }

  byId("sae").addEventListener("change", () => address.go(view, { sae: byId("sae").value, latent: "", with: "", section: "", ratio: "" }));
  byId("with").addEventListener("change", () => address.go(view, { with: byId("with").value }));
  byId("filter-button").addEventListener("click", () => {
    byId("filters").hidden = !byId("filters").hidden;
    byId("filter-button").setAttribute("aria-expanded", String(!byId("filters").hidden));
    hayloft.table.redraw();
  });
  byId("reset").addEventListener("click", () => address.replace(view, Object.fromEntries(FILTERS.map((key) => [key, ""]))));
  let pause = 0;
  const later = (change) => {
    clearTimeout(pause);
    pause = setTimeout(change, PAUSE);
  };
  byId("query").addEventListener("input", () => later(() => address.replace(view, { q: byId("query").value, latent: "" })));
  for (const key of FILTERS) {
    byId(key).addEventListener("input", () => later(() => address.replace(view, { [key]: byId(key).value, latent: "", ...(key === "section" && byId(key).value === "" ? { ratio: "" } : {}) })));
  }
  for (const form of [byId("choice"), byId("filters")]) form.addEventListener("submit", (event) => event.preventDefault());

  const toTable = () => address.go(view, { latent: "" });

  /** What keys do in a table and at a latent, away from fields. */
  function press(key) {
    const isTable = view.latent === "";
    const step = (by) => {
      const next = hayloft.table.near(Number(view.latent), by);
      if (next !== undefined) address.go(view, { latent: next });
    };
    const moves = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: 15, PageUp: -15 };
    if (key === "/") {
      if (!isTable) toTable();
      byId("query").focus();
      byId("query").select();
    } else if (isTable && key in moves) hayloft.table.move(moves[key]);
    else if (isTable && key === "Enter" && hayloft.table.current() !== undefined) address.go(view, { latent: hayloft.table.current() });
    else if (!isTable && (key === "n" || key === "p")) step(key === "n" ? 1 : -1);
    else if (!isTable && key === "Escape") toTable();
    else return false;
    return true;
  }

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const field = event.target.closest("input, select, textarea, button, summary, a");
    if (field?.matches("input") && ["Escape", "Enter", "ArrowDown"].includes(event.key)) {
      // From a field to the rows that it leaves.
      event.preventDefault();
      field.blur();
      if (view.latent === "") hayloft.table.move(0);
      return;
    }
    if (field?.matches("input, select, textarea") || (event.key === "Enter" && field)) return;
    if (press(event.key)) event.preventDefault();
  });

  addEventListener("hashchange", show);
  show();
}).catch((error) => {
  document.getElementById("message").textContent = error.message;
  document.getElementById("message").hidden = false;
});
