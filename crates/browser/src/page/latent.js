// The page of a latent.
"use strict";

hayloft.latent = (() => {
  const { element, figure, count, shown, times, token, group, reason } = hayloft.words;
  const article = document.getElementById("latent");

  /** Shows a latent, beside that of another SAE if the view says so; `false` where a newer view came between. */
  async function show(context, latent, isCurrent) {
    const { contents, place, sae, pair, view } = context;
    const load = async (place, sae, latent) => {
      const [{ item, shared }, { item: label }] = await Promise.all([
        hayloft.item(`${place}/latents`, sae.latents, latent),
        hayloft.item(`${place}/labels`, sae.labels, latent),
      ]);
      return { place, sae, latent, item, shared, label };
    };
    const match = pair ? pair.matchOf(latent) : null;
    const [own, other] = await Promise.all([load(place, sae, latent), match === null ? null : load(pair.place, pair.other, match)]);
    if (!isCurrent()) return false;
    const shares = contents.quantiles;
    article.replaceChildren(heading(context, latent), ...(pair ? side(context, own, other, shares) : alone(context, own, shares)));
    article.hidden = false;
    return true;
  }

  function heading({ sae, view }, latent) {
    const link = (latent, words, key) => element("a", { href: hayloft.address.hash(view, { latent }), title: `${words} (${key})` }, words);
    const [before, after] = [hayloft.table.near(latent, -1), hayloft.table.near(latent, 1)];
    return element("div", { class: "heading" },
      element("h2", { id: "name", tabindex: "-1" }, element("span", { class: "of" }, `${sae.name} / `), String(latent)),
      element("nav", { "aria-label": "Latents" },
        link("", "Table", "Esc"),
        before === undefined ? element("span", { class: "off" }, "Previous") : link(before, "Previous", "p"),
        after === undefined ? element("span", { class: "off" }, "Next") : link(after, "Next", "n")));
  }

  function explanations({ label }) {
    return element("div", { class: "explanations" }, label.explanations.map(({ text, author, score }) => element("blockquote", {}, element("p", {}, text),
      (author !== null || score !== null) && element("footer", {}, [author, score !== null && `score ${figure(score)}`].filter(Boolean).join(", ")))));
  }

  function alone(context, own, shares) {
    const { item, shared } = own;
    return [
      explanations(own),
      element("div", { class: "columns" },
        element("div", { class: "main" }, hayloft.contexts.both(item, shared, hayloft.contexts.scale(item), "h3")),
        element("aside", { "aria-label": "Figures" }, figures(own, shares), densities(own), logits(own), similar(context, own))),
    ];
  }

  function side(context, own, other, shares) {
    const { pair, view } = context;
    const columns = [own, other].filter(Boolean).map((side) => element("div", { class: "side" },
      element("h2", {}, element("a", { href: hayloft.address.hash({}, { sae: side.sae.name, latent: side.latent }) }, `${side.sae.name} / ${side.latent}`)),
      explanations(side), figures(side, shares), densities(side),
      hayloft.contexts.both(side.item, side.shared, hayloft.contexts.scale(side.item), "h3"), logits(side),
      similar({ ...context, view: side === own ? view : { sae: side.sae.name } }, side)));
    if (!other) return [element("p", { class: "message" }, `No latent of ${pair.other.name} matches this one: its decoder direction is zero.`), element("div", { class: "sides" }, columns)];
    const matched = pair.cosines ? `${own.sae.name} / ${own.latent} and ${other.sae.name} / ${other.latent}: the nearest decoder direction, cosine ${figure(pair.cosines[own.latent])}` : `Latents of the same number`;
    return [element("p", { class: "note" }, matched), hayloft.compare.changes(own, other, shares), element("div", { class: "sides" }, columns)];
  }

  function figures({ sae, item, latent }, shares) {
    const why = (column) => reason(sae, column, item.firings);
    const density = sae.tokens > 0 ? item.firings / sae.tokens : null;
    const rows = [
      ["Firings", `${count(item.firings)} of ${count(sae.tokens)} tokens`, "wide"],
      ["Density", shown(density, why("density"))],
      ["Mean", shown(item.mean, why("mean"))],
      ...shares.map((share, number) => [`${Math.round(share * 100)}th percentile`, shown(item.quantiles[number], why(`p${Math.round(share * 100)}`))]),
      ["Max", shown(item.max, why("max"))],
    ];
    if (!sae.missing.includes("ablation")) {
      const { ablation } = item;
      const value = ablation ? `${figure(ablation.delta)} nats over ${count(ablation.tokens)} tokens` : shown(null, "it was not ablated, or never fires");
      rows.push(["Ablation", value, "wide"]);
    }
    const chart = hayloft.chart.histogram(item.histogram, item.max, `latent ${latent}`);
    return element("section", {},
      element("h3", {}, "Activations"),
      chart ?? element("p", { class: "note" }, `No histogram: ${reason(sae, "histogram", item.firings)}.`),
      element("dl", { class: "facts" }, rows.map(([name, value, wide]) => [element("dt", { class: wide }, name), element("dd", { class: wide }, value)])));
  }

  function densities({ sae, item }) {
    const overall = sae.tokens > 0 ? item.firings / sae.tokens : null;
    const kinds = [["Sections", "section", sae.sections, item.sections], ["Subsets", "subset", sae.subsets, item.subsets], ["Turns", "turn", sae.turns, item.turns]];
    return kinds.filter(([, , groups]) => groups.length > 0).map(([title, kind, groups, firings]) => {
      const all = groups.map(({ tokens }, number) => (tokens > 0 ? firings[number] / tokens : null));
      const most = Math.max(...all, 1e-12);
      const rows = groups.map(({ name, tokens }, number) => element("tr", {},
        element("th", { scope: "row" }, group(name)),
        element("td", { title: `${count(firings[number])} of ${count(tokens)} tokens` }, hayloft.chart.bar((all[number] ?? 0) / most), shown(all[number], "it has no tokens that count")),
        element("td", {}, shown(overall > 0 && all[number] !== null ? all[number] / overall : null, "it never fires", times))));
      return element("section", {}, element("h3", {}, title),
        element("div", { class: "scroll" }, element("table", { class: "figures", "aria-label": title }, element("thead", {}, element("tr", {}, [kind, "density", "of overall"].map((name) => element("th", { scope: "col" }, name)))), element("tbody", {}, rows))));
    });
  }

  function logits({ sae, item }) {
    const parts = [["Raises", "logits_raised", item.raised], ["Lowers", "logits_lowered", item.lowered]].filter(([, column]) => !sae.missing.includes(column));
    if (parts.length === 0) return null;
    return element("section", {}, element("h3", {}, "Logits"), element("div", { class: "logits" }, parts.map(([title, , effects]) => element("div", {},
      element("h4", {}, title),
      effects.length === 0 ? element("p", { class: "note" }, "None in the file.") : element("ol", {}, effects.map(({ token: id, effect, text }) => element("li", { title: `token ${id}` }, text === null ? String(id) : token(text), element("span", { class: "effect" }, figure(effect)))))))));
  }

  function similar({ view }, { sae, item }) {
    const link = (latent) => element("a", { href: hayloft.address.hash(view, { sae: sae.name, latent }) }, String(latent));
    const part = (title, about, column, rows) => element("section", {}, element("h3", {}, title, " ", element("small", {}, about)),
      rows.length > 0 ? element("ul", { class: "similar" }, rows) : element("p", { class: "note" }, sae.missing.includes(column) ? `latents.parquet has no column ${column}.` : "None in the file."));
    return [
      part("Nearest", "cosine of decoder directions", "nearest", item.nearest.map(([latent, cosine]) => element("li", {}, link(latent), " ", figure(cosine)))),
      part("Co-firing", "Jaccard index", "cofiring", item.cofiring.map(([latent, together, jaccard]) => element("li", { title: `both fire at ${count(together)} tokens` }, link(latent), " ", figure(jaccard)))),
    ];
  }

  return { show };
})();
