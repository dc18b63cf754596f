// What scrolls sideways (wide tables, code and equations on a phone) can be reached and scrolled with the keyboard.
(function () {
  "use strict";
  const WIDE = "pre, p:has(math[display=block]), .cell-output-display, .table-scroll, .explorer-scroll";

  // Tables of Quarto's pages that stand in no box of their own.
  function wrap(table) {
    if (table.closest(WIDE)) return;
    const around = document.createElement("div");
    around.className = "table-scroll";
    table.replaceWith(around);
    around.append(table);
  }

  function mark() {
    document.querySelectorAll(WIDE).forEach(function (box) {
      const wide = box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).overflowX !== "visible";
      box.classList.toggle("scrolls", wide);
      if (wide) box.tabIndex = 0;
      else if (!box.hasAttribute("role")) box.removeAttribute("tabindex");
    });
  }

  window.addEventListener("load", function () {
    document.querySelectorAll("main table").forEach(wrap);
    mark();
  });
  window.addEventListener("resize", mark);
})();
