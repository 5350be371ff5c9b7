// Examples in their contexts: tokens are tinted by the latent's activation.
"use strict";

hayloft.contexts = (() => {
  const { element, figure } = hayloft.words;

  /** Examples of one kind as a list; `max` is the activation of the full tint. */
  function list(examples, shared, max) {
    return element("ol", { class: "contexts" }, examples.map((example) => one(example, shared, max)));
  }

  function one(example, shared, max) {
    const where = [
      example.section,
      example.subset !== null && `subset ${example.subset}`,
      example.turn !== null && `turn ${example.turn}`,
      `sequence ${example.sequence}, position ${example.first + example.at}`,
      example.document !== null && `document ${example.document}`,
    ].filter(Boolean).join(" · ");
    return element("li", {},
      element("p", { class: "context", dir: "auto" }, tokens(example, shared, max)),
      element("p", { class: "where" }, element("b", {}, figure(example.activation)), ` ${where}`));
  }

  /** Tokens; those between firings are one text. */
  function tokens({ tokens, fires, unread, at }, { ids, texts }, max) {
    const activations = new Map(fires);
    const notRun = new Set(unread);
    const parts = [];
    let plain = "";
    const separator = texts.length > 0 ? "" : " ";
    tokens.forEach((token, place) => {
      const text = (texts[token] ?? String(ids[token])) + separator;
      const activation = activations.get(place);
      if (activation === undefined && !notRun.has(place)) {
        plain += text;
        return;
      }
      if (plain) parts.push(plain);
      plain = "";
      const title = activation === undefined ? `the SAE was not run here, token ${ids[token]}` : `${figure(activation)}, token ${ids[token]}`;
      const made = element(place === at ? "strong" : "span", { class: activation === undefined ? "unread" : "fires", title }, text);
      if (activation !== undefined) made.style.setProperty("--activation", Math.min(1, activation / max));
      parts.push(made);
    });
    if (plain) parts.push(plain);
    return parts;
  }

  /** Both kinds of examples under their headings. */
  function both({ examples }, shared, max, level) {
    const parts = [[true, "Top examples", "largest activations first"], [false, "Sampled examples", "spread over its activations, smallest first"]];
    return parts.map(([top, title, about]) => {
      const own = examples.filter((example) => example.top === top);
      const none = element("p", { class: "note" }, "None in the files.");
      return element("section", {}, element(level, {}, title, " ", element("small", {}, about)), own.length > 0 ? list(own, shared, max) : none);
    });
  }

  /** The activation of the full tint: the largest. */
  const scale = (item) => item.max ?? Math.max(1e-9, ...item.examples.map((example) => example.activation));

  return { both, scale };
})();
