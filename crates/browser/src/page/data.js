// Data: scripts that register themselves, since a page opened from disk may load nothing else.
"use strict";

const hayloft = (() => {
  /** Pieces of lists that are kept; those used longest ago are loaded again when they are needed. */
  const MOST_PIECES = 48;
  const KINDS = { f32: Float32Array, f64: Float64Array, u32: Uint32Array };

  const loads = new Map();
  const registered = new Map();

  /** Registers data; the scripts below data/ call it. */
  function add(name, value) {
    registered.set(name, value);
  }

  /** Loads data by name, once. */
  function load(name) {
    if (!loads.has(name)) {
      loads.set(name, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = `data/${name}.js`;
        script.onload = () => {
          script.remove();
          if (registered.has(name)) resolve(registered.get(name));
          else reject(new Error(`${script.src} holds no data. Make the page again with evaluate browse`));
          registered.delete(name);
        };
        script.onerror = () => {
          script.remove();
          loads.delete(name);
          reject(new Error(`${script.src} cannot be loaded. Is the folder of the page whole?`));
        };
        document.head.append(script);
      }));
    }
    return loads.get(name);
  }

  const columns = new Map();

  /** A column of numbers; NaN and 2³²−1 stand for what is undefined. */
  function column(name) {
    if (!columns.has(name)) {
      columns.set(name, load(name).then(({ kind, data }) => {
        loads.delete(name);
        const text = atob(data);
        const bytes = new Uint8Array(text.length);
        for (let place = 0; place < text.length; place += 1) bytes[place] = text.charCodeAt(place);
        return new KINDS[kind](bytes.buffer);
      }));
    }
    return columns.get(name);
  }

  const pieces = new Map();

  /** The number of the piece that holds an item, by the numbers of the pieces' first items. */
  function pieceOf(starts, item) {
    let [low, high] = [0, starts.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (starts[middle] <= item) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** A piece of a list: its items from `first` on, and what they share. */
  function piece(list, number) {
    const name = `${list}-${number}`;
    const found = pieces.get(name) ?? load(name);
    pieces.delete(name);
    pieces.set(name, found);
    if (pieces.size > MOST_PIECES) {
      const [oldest] = pieces.keys();
      pieces.delete(oldest);
      loads.delete(oldest);
    }
    return found;
  }

  /** An item of a list, with what the items of its piece share. */
  async function item(list, starts, number) {
    const { first, shared, items } = await piece(list, pieceOf(starts, number));
    return { item: items[number - first], shared };
  }

  return { add, load, column, pieceOf, piece, item };
})();
