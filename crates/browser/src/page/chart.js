// Pictures: a histogram with a logarithmic axis, and bars of densities.
"use strict";

hayloft.chart = (() => {
  const { element, shape, figure, count } = hayloft.words;

  const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [460, 170, 8, 24, 6];

  /** Firings by activation. Bins grow with their activations, eight to a doubling, so they are equally wide here. */
  function histogram(bins, max, name) {
    if (bins.length === 0) return null;
    const end = (bin) => bin[1] ?? bin[0] * 1.125;
    const [low, high] = [Math.log2(bins[0][0]), Math.log2(end(bins[bins.length - 1]))];
    const x = (value) => LEFT + ((Math.log2(value) - low) / Math.max(high - low, 1e-9)) * (WIDTH - 2 * LEFT);
    const most = Math.max(...bins.map((bin) => bin[2]));
    const y = (number) => TOP + (1 - number / most) * (HEIGHT - TOP - BOTTOM);
    const bars = bins.map((bin) => {
      const [from, to, number] = [bin[0], end(bin), bin[2]];
      const title = `${figure(from)} to ${bin[1] === null ? "∞" : figure(to)}: ${count(number)}`;
      return shape("rect", { x: x(from), y: y(number), width: Math.max(0.5, x(to) - x(from) - 0.5), height: HEIGHT - BOTTOM - y(number) }, shape("title", {}, title));
    });
    const ticks = ticksOf(low, high).map((value) => shape("g", {},
      shape("line", { x1: x(value), x2: x(value), y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4 }),
      shape("text", { x: x(value), y: HEIGHT - 6, "text-anchor": "middle" }, figure(value))));
    const total = bins.reduce((sum, bin) => sum + bin[2], 0);
    const about = `Histogram of activations of ${name} on a logarithmic axis: ${count(total)} firings from ${figure(bins[0][0])} to ${figure(max ?? end(bins[bins.length - 1]))}, the largest bin has ${count(most)}.`;
    return shape("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": about },
      shape("line", { class: "axis", x1: LEFT, x2: WIDTH - LEFT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM }), bars, ticks);
  }

  /** Powers of two inside a range of exponents, at most seven of them; a narrow range has its ends. */
  function ticksOf(low, high) {
    const [first, last] = [Math.ceil(low + 0.15), Math.floor(high - 0.15)];
    if (last <= first) return [2 ** (low + (high - low) * 0.1), 2 ** (high - (high - low) * 0.1)];
    const step = Math.ceil((last - first + 1) / 7);
    const ticks = [];
    for (let exponent = first; exponent <= last; exponent += step) ticks.push(2 ** exponent);
    return ticks;
  }

  /** A bar as long as its share. */
  function bar(share) {
    const made = element("span", { class: "bar", "aria-hidden": "true" });
    made.style.setProperty("--share", Math.min(1, Math.max(0, share)));
    return made;
  }

  return { histogram, bar };
})();
