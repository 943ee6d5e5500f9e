// Search, filter and sort: what CSS cannot do. Without this script every row is there, in the report's order.
"use strict";
const collator = new Intl.Collator(undefined, { numeric: true });

for (const region of document.querySelectorAll("[data-rows]")) {
  const table = region.querySelector("table");
  const rows = [...table.tBodies];
  const controls = region.querySelector(".controls");
  if (controls) {
    const [search, kind] = controls.querySelectorAll("input, select");
    const told = controls.querySelector("output");
    const apply = () => {
      const wanted = search.value.toLowerCase();
      let shown = 0;
      for (const row of rows) {
        const here = row.textContent.toLowerCase().includes(wanted) && (!kind.value || row.dataset.kind === kind.value);
        row.hidden = !here;
        shown += here;
      }
      told.textContent = `${shown} of ${rows.length} rows`;
    };
    search.addEventListener("input", apply);
    kind.addEventListener("change", apply);
    controls.hidden = false;
    apply();
  }
}

for (const heading of document.querySelectorAll("th[data-sort]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...heading.childNodes);
  heading.append(button);
  button.addEventListener("click", () => {
    const up = heading.getAttribute("aria-sort") !== "ascending";
    const table = heading.closest("table");
    for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const many = table.tBodies.length > 1;  // one body a row of several lines, or one body of rows
    const rows = many ? [...table.tBodies] : [...table.tBodies[0].rows];
    const cell = (row) => (many ? row.rows[0] : row).cells[heading.cellIndex];
    const text = (row) => cell(row).dataset.value ?? cell(row).textContent.trim();
    rows.sort((one, other) => (up ? 1 : -1) * collator.compare(text(one), text(other)));
    (many ? table : table.tBodies[0]).append(...rows);
  });
}
