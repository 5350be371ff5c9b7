// The address: what is shown stands in the hash, so that every view can be shared.
"use strict";

hayloft.address = (() => {
  /** What an address can say, with what it says by saying nothing. */
  const DEFAULTS = { sae: "", latent: "", with: "", q: "", sort: "", order: "", least: "", most: "", section: "", ratio: "", dead: "", near: "" };

  function read() {
    const said = new URLSearchParams(location.hash.slice(1));
    return Object.fromEntries(Object.keys(DEFAULTS).map((key) => [key, said.get(key) ?? DEFAULTS[key]]));
  }

  /** The hash of a view that differs from another in some of what it says. */
  function hash(view, changes = {}) {
    const said = Object.entries({ ...view, ...changes }).filter(([key, value]) => key in DEFAULTS && String(value) !== DEFAULTS[key]);
    return `#${new URLSearchParams(said)}`;
  }

  function go(view, changes) {
    location.hash = hash(view, changes);
  }

  /** Changes the address without a step in the browser's history. */
  function replace(view, changes) {
    history.replaceState(null, "", hash(view, changes));
    dispatchEvent(new HashChangeEvent("hashchange"));
  }

  return { read, hash, go, replace };
})();
