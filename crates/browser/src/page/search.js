// Search: by number, by tokens of top examples, by explanation.
"use strict";

hayloft.search = (() => {
  /** From so many letters on, a token is found by a part of it. */
  const PART = 3;
  /** Weights that put a latent of the number, then those whose explanation is found, before those found by tokens. */
  const BY_NUMBER = 1e9;
  const BY_EXPLANATION = 1e6;

  /** Latents that a query finds, with weights; null for an empty query, which finds all. */
  async function search(place, sae, query) {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length === 0) return null;
    const found = new Map();
    const [tokens] = await Promise.all([byTokens(place, sae, words), byExplanation(place, sae, words.join(" "), found)]);
    for (const [latent, weight] of tokens) found.set(latent, (found.get(latent) ?? 0) + weight);
    if (/^\d+$/.test(query.trim()) && Number(query) < sae.width) found.set(Number(query), BY_NUMBER);
    return found;
  }

  /** Latents that fire at tokens of every word. */
  async function byTokens(place, sae, words) {
    if (sae.terms === 0) return new Map();
    const { terms, starts } = await hayloft.load(`${place}/terms`);
    let all = null;
    for (const word of words) {
      const matches = [];
      terms.forEach((term, number) => {
        if (term === word || (word.length >= PART && term.includes(word))) matches.push(number);
      });
      const numbers = new Set(matches.map((number) => hayloft.pieceOf(starts, number)));
      const pieces = new Map(await Promise.all([...numbers].map(async (number) => [number, await hayloft.load(`${place}/postings-${number}`)])));
      const own = new Map();
      for (const number of matches) {
        const { first, items } = pieces.get(hayloft.pieceOf(starts, number));
        const flat = items[number - first];
        for (let pair = 0, latent = 0; pair < flat.length; pair += 2) {
          latent += flat[pair];
          if (all === null || all.has(latent)) own.set(latent, (own.get(latent) ?? all?.get(latent) ?? 0) + flat[pair + 1]);
        }
      }
      all = own;
    }
    return all;
  }

  async function byExplanation(place, sae, words, found) {
    if (sae.explanations === 0) return;
    const pieces = await Promise.all(sae.labels.map((_, number) => hayloft.load(`${place}/labels-${number}`)));
    for (const { first, items } of pieces) {
      items.forEach(({ explanations }, number) => {
        if (explanations.some(({ text }) => text.toLowerCase().includes(words))) found.set(first + number, BY_EXPLANATION);
      });
    }
  }

  return search;
})();
