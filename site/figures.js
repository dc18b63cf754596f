// Draws the figures that ilhte_report.site.embed.show wrote into the page, in the colours of the page's theme.
(function () {
  "use strict";

  // As an address beside this file, whatever folder the site lies in; loaded by pages that have a figure only.
  const PLOTLY = new URL("../assets/plotly.min.js", document.currentScript.src).href;
  // What is dark enough for a white page is too dark for a dark one.
  const ON_DARK = { "#2166ac": "#6db1f2", "#d73027": "#ff8a75" };
  const FAINTEST_ON_DARK = 0.6;
  const NARROW = 480;

  function isDark() {
    const [r, g, b] = getComputedStyle(document.body).color.match(/[\d.]+/g).map(Number);
    return r + g + b > 3 * 128;
  }

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

  // A copy of a marker, a line or a layout with its colours set for a dark page; never of names and other data.
  function forDark(style, key) {
    if (Array.isArray(style)) return style.map((part) => forDark(part, key));
    if (style && typeof style === "object") {
      return Object.fromEntries(Object.entries(style).map(([name, part]) => [name, forDark(part, name)]));
    }
    if (key === "opacity") return Math.max(style, FAINTEST_ON_DARK);
    return (key === "color" || key === "colorscale") && Object.hasOwn(ON_DARK, style) ? ON_DARK[style] : style;
  }

  function paint(place) {
    const figure = place.figure;
    const dark = isDark();
    const data = figure.data.map(function (trace, n) {
      const styles = ["marker", "line", "error_x", "error_y"].filter((name) => dark && trace[name]);
      const selected = place.found ? trace.customdata?.flatMap((name, n) => (place.found.has(name) ? n : [])) : undefined;
      return {
        ...trace,
        ...asSetByReader(place.data?.[n]),
        ...Object.fromEntries(styles.map((name) => [name, forDark(trace[name], name)])),
        ...(selected ? { selectedpoints: selected, unselected: { marker: { opacity: 0.1 } } } : {}),
      };
    });
    const layout = { ...figure.layout, template: theme() };
    if (place.clientWidth < NARROW) {
      for (const name of Object.keys(layout).filter((key) => key.startsWith("xaxis"))) layout[name] = narrow(layout[name]);
    }
    if (dark && layout.shapes) layout.shapes = forDark(layout.shapes);
    if (place.found) layout.annotations = [...(layout.annotations || []), ...names(figure, place.found)];
    return window.Plotly.react(place, data, layout, figure.config);
  }

  // A title on lines that a phone has room for.
  function wrapped(text) {
    const MOST = 24;
    const [first, ...others] = text.split(" ");
    let length = first.length;
    return others.reduce(function (lines, word) {
      const letters = word.replace(/<[^>]*>/g, "").length;
      const breaks = length + 1 + letters > MOST;
      length = breaks ? letters : length + 1 + letters;
      return lines + (breaks ? "<br>" : " ") + word;
    }, first);
  }

  // An axis on a phone: its title on several lines, and of panels beside each other fewer numbers.
  function narrow(axis) {
    const text = axis?.title?.text;
    const titled = text ? { ...axis, title: { ...axis.title, text: wrapped(text) } } : axis;
    const [from, to] = axis?.domain || [0, 1];
    if (to - from > 0.6) return titled;
    const small = { ...titled, tickfont: { size: to - from < 0.3 ? 8 : 10 } };
    return axis.tickvals || "tickangle" in axis ? small : { ...small, nticks: 4, tickangle: 0 };
  }

  // What sliders and the legend have set since the figure was drawn.
  function asSetByReader(trace = {}) {
    return Object.fromEntries(["visible", "opacity"].filter((name) => name in trace).map((name) => [name, trace[name]]));
  }

  // The names of the highlighted points beside them; a table's small points are not named again.
  function names(figure, found) {
    const MOST = 6;
    const points = figure.data
      .filter((trace) => trace.customdata && trace.hoverinfo !== "skip")
      .flatMap((trace) => trace.customdata.map((name, n) => ({ name, x: trace.x[n], y: trace.y[n] })))
      .filter((point) => found.has(point.name));
    if (points.length > MOST) return [];
    return points.map(({ name, x, y }) => ({
      text: (name.length > 40 ? name.slice(0, 39) + "…" : name)
        .replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;"),
      x, y, showarrow: false, yshift: 14,
    }));
  }

  function draw(figureElement) {
    const place = figureElement.querySelector(".drawing");
    if (!window.Plotly) {
      place.textContent = place.getAttribute("aria-label") + " (The figure could not be drawn.)";
      return;
    }
    place.figure = JSON.parse(figureElement.querySelector("script").textContent);
    const sliders = takeSliders(place.figure.layout);
    paint(place);
    if (sliders.length) {
      place.style.minHeight = `${place.figure.layout.height || 0}px`;
      place.after(sliderBox(place, sliders));
    }
    if (place.figure.pages) {
      const pages = new Map(Object.entries(place.figure.pages));
      place.before(finder(place, pages));
      openOnClick(place, pages);
    }
  }

  // Plotly's sliders take no keyboard; the browser's do, so those stand below the figure instead.
  function takeSliders(layout) {
    const sliders = layout.sliders || [];
    if (sliders.length && layout.margin?.b && layout.height) {
      const ROOM_FOR_THE_AXIS = 70;
      layout.height -= layout.margin.b - ROOM_FOR_THE_AXIS;
      layout.margin.b = ROOM_FOR_THE_AXIS;
    }
    delete layout.sliders;
    return sliders;
  }

  function sliderBox(place, sliders) {
    const box = document.createElement("div");
    box.className = "sliders";
    for (const { steps, active = 0, currentvalue } of sliders) {
      const input = Object.assign(document.createElement("input"), { type: "range", min: 0, max: steps.length - 1, value: active });
      const shown = document.createElement("output");
      const tell = function () {
        shown.innerHTML = currentvalue?.prefix || ""; // ours, with subscripts
        shown.append(steps[input.value].label);
        input.setAttribute("aria-valuetext", shown.textContent);
      };
      input.setAttribute("aria-label", (currentvalue?.prefix || "Value").replace(/<[^>]*>|[\s=:]+$/g, ""));
      input.addEventListener("input", function () {
        const { method, args } = steps[input.value];
        if (["restyle", "relayout", "update"].includes(method)) window.Plotly[method](place, ...args);
        tell();
      });
      tell();
      box.append(shown, input);
    }
    return box;
  }

  // Where there is a pointer that hovers, a click opens the page; a finger's first tap shows what hovering would.
  function openOnClick(place, pages) {
    let tapped = null;
    place.on("plotly_click", function ({ points, event }) {
      const name = points[0].customdata;
      if (!pages.has(name)) return;
      const finger = event.type.startsWith("touch") || window.matchMedia("(hover: none)").matches;
      if (finger && tapped !== name) tapped = name;
      else window.location.href = pages.get(name);
    });
  }

  // A search box: what matches is highlighted in the figure and linked below the box, which a keyboard reaches too.
  function finder(place, pages) {
    const drawn = new Set(place.figure.data.flatMap((trace) => trace.customdata || []));
    const known = [...pages.keys()].filter((name) => drawn.has(name)).sort();
    const box = document.createElement("div");
    box.className = "finder";
    const id = place.id + "-find";
    box.innerHTML =
      `<label for="${id}">Highlight tables by name</label>` +
      `<input type="search" id="${id}" list="${id}-names" autocomplete="off" spellcheck="false">` +
      `<datalist id="${id}-names"></datalist><p role="status"></p>`;
    const [input, list, status] = ["input", "datalist", "p"].map((tag) => box.querySelector(tag));
    list.append(...known.map((name) => Object.assign(document.createElement("option"), { value: name })));

    input.addEventListener("input", function () {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const found = words.length ? known.filter((name) => words.every((word) => name.toLowerCase().includes(word))) : [];
      place.found = words.length ? new Set(found) : null;
      paint(place);
      status.replaceChildren();
      if (!words.length) return;
      const MOST = 8;
      status.append(found.length === 1 ? "1 table: " : `${found.length} tables${found.length ? ": " : "."}`);
      found.slice(0, MOST).forEach(function (name, n) {
        if (n) status.append(", ");
        status.append(Object.assign(document.createElement("a"), { href: pages.get(name), textContent: name }));
      });
      if (found.length > MOST) status.append(" …");
    });
    return box;
  }

  function drawAll() {
    document.querySelectorAll(".ilhte-figure").forEach(draw);
    // Quarto's toggle changes the class of the body once the other style sheet is in place; the preview's changes an
    // attribute of the root.
    let painted = getComputedStyle(document.body).color;
    const check = function () {
      requestAnimationFrame(function () {
        const now = getComputedStyle(document.body).color;
        if (now !== painted) {
          painted = now;
          document.querySelectorAll(".ilhte-figure .js-plotly-plot").forEach(paint);
        }
      });
    };
    new MutationObserver(check).observe(document.body, { attributes: true, attributeFilter: ["class"] });
    new MutationObserver(check).observe(document.documentElement, { attributes: true });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", check);
  }

  // The script is deferred, so the page is there.
  if (document.querySelector(".ilhte-figure")) {
    const plotly = document.createElement("script");
    plotly.src = PLOTLY;
    plotly.onload = plotly.onerror = drawAll;
    document.head.append(plotly);
  }
})();
