// What scrolls sideways (wide tables, code and equations on a phone) can be reached and scrolled with the keyboard.
(function () {
  "use strict";
  const WIDE = "pre, math[display=block], .cell-output-display, .table-scroll";

  function mark() {
    document.querySelectorAll(WIDE).forEach(function (box) {
      if (box.scrollWidth > box.clientWidth && getComputedStyle(box).overflowX !== "visible") box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    });
  }

  window.addEventListener("load", mark);
  window.addEventListener("resize", mark);
})();
