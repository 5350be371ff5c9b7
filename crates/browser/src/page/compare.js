// Two SAEs: which latents belong together, and what changed.
"use strict";

hayloft.compare = (() => {
  const { element, shown, times, figure, isDefined } = hayloft.words;
  const NO_MATCH = 2 ** 32 - 1;

  /** The comparisons of an SAE: places of the others. From the second SAE of a pair, only numbers match back. */
  function partners(contents, place) {
    return contents.comparisons.flatMap(({ left, right, matching }, number) => {
      if (left === place) return [{ place: right, number, matching }];
      return right === place && matching === "index" ? [{ place: left, number, matching }] : [];
    });
  }

  /** The SAE beside another, by its name; null if they are not compared. */
  async function pairOf(contents, place, name) {
    const found = partners(contents, place).find((own) => contents.saes[own.place].name === name);
    if (!found) return null;
    const pair = { place: found.place, other: contents.saes[found.place], matching: found.matching, matchOf: (latent) => latent };
    if (found.matching === "cosine") {
      const [latents, cosines] = await Promise.all([hayloft.column(`match-${found.number}-latents`), hayloft.column(`match-${found.number}-cosines`)]);
      pair.cosines = cosines;
      pair.matchOf = (latent) => (latents[latent] === NO_MATCH ? null : latents[latent]);
    }
    return pair;
  }

  const ratio = (own, other) => (isDefined(own) && isDefined(other) && own !== 0 ? other / own : null);
  const density = (firings, tokens) => (tokens > 0 ? firings / tokens : null);

  /** Figures of both sides in rows: what, of the first, of the second. */
  function rowsOf(left, right, shares) {
    const rows = [["Density", density(left.item.firings, left.sae.tokens), density(right.item.firings, right.sae.tokens)]];
    for (const [name, own, other] of sectionsOf(left, right)) rows.push([`Density in ${name}`, own, other]);
    rows.push(["Mean activation", left.item.mean, right.item.mean]);
    shares.forEach((share, number) => {
      if (share === 0.5) rows.push(["Median activation", left.item.quantiles[number], right.item.quantiles[number]]);
    });
    rows.push(["Largest activation", left.item.max, right.item.max]);
    if (left.item.ablation || right.item.ablation) rows.push(["Ablation, nats", left.item.ablation?.delta, right.item.ablation?.delta]);
    return rows;
  }

  function sectionsOf(left, right) {
    const of = ({ sae, item }) => new Map(sae.sections.map(({ name, tokens }, number) => [name, density(item.sections[number], tokens)]));
    const [own, other] = [of(left), of(right)];
    const names = [...new Set([...own.keys(), ...other.keys()])];
    return names.map((name) => [name, own.get(name), other.get(name)]);
  }

  /** The tokens at which top examples are, with their counts. */
  function peaks({ item, shared }) {
    const found = new Map();
    for (const { tokens, at } of item.examples.filter((example) => example.top)) {
      const text = shared.texts[tokens[at]] ?? String(shared.ids[tokens[at]]);
      found.set(text, (found.get(text) ?? 0) + 1);
    }
    return found;
  }

  /** What changed, in a sentence. */
  function inWords(left, right) {
    const { firings } = left.item;
    const [own, other] = [density(firings, left.sae.tokens), density(right.item.firings, right.sae.tokens)];
    const parts = [];
    if (firings === 0 || right.item.firings === 0) {
      const dead = firings === 0 ? left : right;
      parts.push(firings === 0 && right.item.firings === 0 ? "It fires in neither" : `It never fires in ${dead.sae.name}`);
    } else {
      parts.push(`In ${right.sae.name} it fires ${figure(ratio(own, other))} times as often`);
      const mean = ratio(left.item.mean, right.item.mean);
      if (mean !== null) parts.push(`its mean activation is ${figure(mean)} times as large`);
      const moved = sectionsOf(left, right).map(([name, one, two]) => [name, ratio(one, two)]).filter(([, change]) => change > 0);
      moved.sort(([, one], [, two]) => Math.abs(Math.log(two)) - Math.abs(Math.log(one)));
      if (moved.length > 1) parts.push(`most changed in section ${moved[0][0]} (${times(moved[0][1])})`);
    }
    const [mine, theirs] = [peaks(left), peaks(right)];
    if (mine.size > 0 && theirs.size > 0) {
      const shared = [...mine.keys()].filter((text) => theirs.has(text)).length;
      parts.push(`its top examples share ${shared} of ${new Set([...mine.keys(), ...theirs.keys()]).size} tokens`);
    }
    return `${parts.join(", ")}.`;
  }

  /** The table of what changed. */
  function changes(left, right, shares) {
    const missing = (side) => (side.item.firings === 0 ? "it never fires" : "the files of this SAE do not have it");
    const cell = (number, reason, format) => element("td", {}, shown(number, reason, format));
    const rows = rowsOf(left, right, shares).map(([what, own, other]) => element("tr", {},
      element("th", { scope: "row" }, what),
      cell(own, missing(left)),
      cell(other, missing(right)),
      cell(what.startsWith("Ablation") ? null : ratio(own, other), what.startsWith("Ablation") ? "differences have no ratio" : "the first is zero or undefined", times)));
    const heads = ["", left.sae.name, right.sae.name, "Change"].map((name, number) => element(number ? "th" : "td", { scope: number ? "col" : null }, name));
    return element("section", { "aria-labelledby": "changed" },
      element("h2", { id: "changed" }, "What changed"),
      element("p", {}, inWords(left, right)),
      element("div", { class: "scroll" }, element("table", { class: "figures", "aria-label": "What changed" }, element("thead", {}, element("tr", {}, heads)), element("tbody", {}, rows))));
  }

  return { partners, pairOf, changes };
})();
