// What scrolls sideways (wide tables, code and equations on a phone) can be reached and scrolled with the keyboard.
(function () {
  "use strict";
  const WIDE = "pre, div.sourceCode, p:has(math[display=block]), .cell-output-display, .table-scroll, .explorer-scroll";

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
      const hidden = getComputedStyle(box).overflowX === "visible" ? 0 : box.scrollWidth - box.clientWidth;
      // a pixel of rounding can be scrolled, but is not worth a sign
      box.classList.toggle("scrolls", hidden > 1);
      if (hidden > 0) box.tabIndex = 0;
      else if (!box.hasAttribute("role")) box.removeAttribute("tabindex");
    });
  }

  window.addEventListener("load", function () {
    document.querySelectorAll("main table").forEach(wrap);
    mark();
  });
  window.addEventListener("resize", mark);
  // what is folded away has no width until it is opened
  document.addEventListener("toggle", mark, true);
})();
