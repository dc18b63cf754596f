// Sorts, searches and filters the table that ilhte_report.pages.explorer wrote; without this script it can still be read.
(function () {
  "use strict";

  function bringToLife(explorer) {
    const form = explorer.querySelector("form");
    const status = explorer.querySelector("[role=status]");
    const body = explorer.querySelector("tbody");
    const rows = [...body.rows];
    const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

    function filter() {
      const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
      const chosen = [...form.querySelectorAll("select")].filter((select) => select.value);
      for (const row of rows) {
        row.hidden = !(
          words.every((word) => texts.get(row).includes(word)) &&
          chosen.every((select) => row.dataset[select.name] === select.value)
        );
      }
      const shown = rows.filter((row) => !row.hidden).length;
      status.textContent = shown === rows.length ? `${shown} ${shown === 1 ? "table" : "tables"}.` : `${shown} of ${rows.length} tables.`;
    }

    // What is undefined stays at the end, whichever way the column is sorted.
    function sort(heading, number) {
      const column = heading.cellIndex;
      const descending = heading.getAttribute("aria-sort") === "ascending";
      const key = function (row) {
        const text = row.cells[column].dataset.value ?? row.cells[column].textContent;
        return number ? (text === "" ? null : Number(text)) : text;
      };
      const compare = number ? (a, b) => a - b : new Intl.Collator(undefined, { numeric: true }).compare;
      rows.sort(function (first, second) {
        const [a, b] = [key(first), key(second)];
        if (a === null || b === null) return (a === null) - (b === null);
        return descending ? compare(b, a) : compare(a, b);
      });
      body.append(...rows);
      explorer.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    }

    explorer.querySelectorAll("th[data-sort]").forEach(function (heading) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      button.addEventListener("click", () => sort(heading, heading.dataset.sort === "number"));
      heading.append(button);
    });
    form.addEventListener("input", filter);
    form.addEventListener("reset", () => setTimeout(filter));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    filter();
  }

  document.querySelectorAll(".explorer").forEach(bringToLife);
})();
