// Numbers and elements. Texts of the corpus become text nodes, never markup.
"use strict";

hayloft.words = (() => {
  /** An element with attributes (functions are listeners) and children, of which strings are text. */
  function element(tag, attributes = {}, ...children) {
    return fill(document.createElement(tag), attributes, children);
  }

  /** The same for a part of a picture. */
  function shape(tag, attributes = {}, ...children) {
    return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
  }

  function fill(made, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") made.addEventListener(name, value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
    }
    made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return made;
  }

  /** A number in three digits. */
  function figure(number) {
    const size = Math.abs(number);
    const sign = number < 0 ? "−" : "";
    if (size === 0) return "0";
    if (size < 1e-4 || size >= 1e7) return sign + size.toExponential(1).replace("e+", "e").replace("e-", "e−");
    return sign + (size >= 999.5 ? count(Math.round(size)) : size.toPrecision(3));
  }

  const count = new Intl.NumberFormat("en").format;

  const isDefined = (number) => number !== null && number !== undefined && !Number.isNaN(number);

  /** A figure, or a dash that says why there is none. */
  function shown(number, reason, format = figure) {
    return isDefined(number) ? format(number) : element("span", { class: "none", title: reason, "aria-label": `undefined: ${reason}` }, "–");
  }

  /** A factor, such as ×1.3. */
  const times = (number) => `×${figure(number)}`;

  /** A token as a chip; a space before it is a dot. */
  function token(text) {
    const spaces = text.length - text.trimStart().length;
    return element("span", { class: "token" }, spaces > 0 && element("span", { class: "space" }, "·".repeat(spaces)), text.slice(spaces));
  }

  /** The name of a group; null is no subset. */
  const group = (name) => name ?? "(none)";

  /** Why a latent's figure is undefined. */
  function reason(sae, column, firings) {
    if (sae.missing.includes(column)) return `latents.parquet has no column ${column}`;
    if (sae.tokens === 0) return "no tokens count";
    if (firings === 0) return "it never fires";
    return "the files do not have it for this latent";
  }

  return { element, shape, figure, count, isDefined, shown, times, token, group, reason };
})();
