// Draws the figures that ilhte_report.embed.show wrote into the page, in the colours of the page's theme.
(function () {
  "use strict";

  function theme() {
    const text = getComputedStyle(document.body).color;
    const faint = text.replace(/^rgba?\(([^,]+),([^,]+),([^,)]+).*$/, "rgba($1,$2,$3,0.2)");
    const axis = {
      gridcolor: faint,
      zerolinecolor: faint,
      linecolor: faint,
      automargin: true, // on a phone a title would lie on the tick labels
      title: { standoff: 12 },
    };
    return {
      layout: {
        font: { color: text, family: getComputedStyle(document.body).fontFamily },
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        xaxis: axis,
        yaxis: axis,
        margin: { l: 60, r: 20, t: 40, b: 60 },
        autosize: true,
      },
    };
  }

  function draw(figureElement) {
    const place = figureElement.querySelector(".drawing");
    if (!window.Plotly) {
      place.textContent = place.getAttribute("aria-label") + " (The figure could not be drawn.)";
      return;
    }
    const figure = JSON.parse(figureElement.querySelector("script").textContent);
    window.Plotly.newPlot(place, figure.data, { ...figure.layout, template: theme() }, figure.config);
  }

  function recolour() {
    document.querySelectorAll(".ilhte-figure .js-plotly-plot").forEach(function (place) {
      window.Plotly.relayout(place, { template: theme() });
    });
  }

  function start() {
    document.querySelectorAll(".ilhte-figure").forEach(draw);
    // Quarto's toggle changes the class of the body once the other style sheet is in place; the preview's changes an
    // attribute of the root.
    let painted = getComputedStyle(document.body).color;
    const check = function () {
      requestAnimationFrame(function () {
        const now = getComputedStyle(document.body).color;
        if (now !== painted) {
          painted = now;
          recolour();
        }
      });
    };
    new MutationObserver(check).observe(document.body, { attributes: true, attributeFilter: ["class"] });
    new MutationObserver(check).observe(document.documentElement, { attributes: true });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", check);
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
