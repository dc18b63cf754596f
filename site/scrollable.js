// What scrolls sideways (wide tables, code and equations on a phone) can be reached and scrolled with the keyboard.
(function () {
  "use strict";
  const WIDE = "pre, p:has(math[display=block]), .cell-output-display, .table-scroll, .explorer-scroll";

  function mark() {
    document.querySelectorAll(WIDE).forEach(function (box) {
      const wide = box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).overflowX !== "visible";
      box.classList.toggle("scrolls", wide);
      if (wide) box.tabIndex = 0;
      else if (!box.hasAttribute("role")) box.removeAttribute("tabindex");
    });
  }

  window.addEventListener("load", mark);
  window.addEventListener("resize", mark);
})();
