"use strict";
// A click on a heading sorts the rows of its table by that column, and a second click the other way round.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  if (body.rows.length < 2) continue;
  table.querySelectorAll("thead th").forEach((heading, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const cells = (row) => row.cells[place];
      const isNumber = [...body.rows].some((row) => cells(row).dataset.value);
      const compare = (one, other) => {
        if (!isNumber) return cells(one).textContent.localeCompare(cells(other).textContent, "en", { numeric: true });
        const values = [one, other].map((row) => cells(row).dataset.value);
        // Undefined figures are last, either way.
        if (!values[0] || !values[1]) return (values[0] ? 0 : 1) - (values[1] ? 0 : 1) || 0;
        return Number(values[0]) - Number(values[1]);
      };
      const isUndefined = (row) => isNumber && !cells(row).dataset.value;
      const rows = [...body.rows].sort((one, other) => {
        const order = compare(one, other);
        return down && !isUndefined(one) && !isUndefined(other) ? -order : order;
      });
      body.append(...rows);
    });
  });
}
