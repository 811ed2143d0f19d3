// What the pages need beyond HTML and htmx. Every page reads and works without it.
(() => {
  const root = document.documentElement;
  const schemes = ["system", "light", "dark"];
  const stored = () => { try { return localStorage.getItem("scheme") || "system"; } catch { return "system"; } };
  const apply = (scheme) => { if (scheme === "system") delete root.dataset.theme; else root.dataset.theme = scheme; };
  apply(stored()); // in <head>, before the first paint

  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // --- times: local, and true while one looks -------------------------------------------------------------------------

  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "long" });
  const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
  const day = (date, now) =>
    new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", ...(date.getFullYear() !== now.getFullYear() && { year: "numeric" }) }).format(date);
  const relative = (date, now) => {
    const seconds = (now - date) / 1000;
    if (seconds < 60) return "just now";
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
    return seconds < 172800 ? "yesterday" : day(date, now);
  };
  const duration = (seconds) => {
    const whole = Math.max(0, Math.round(seconds));
    for (const [large, small, name, rest] of [[86400, 3600, "d", "h"], [3600, 60, "h", "min"], [60, 1, "min", "s"]]) {
      const remainder = Math.floor((whole % large) / small);
      if (whole >= large) return `${Math.floor(whole / large)} ${name}` + (remainder ? ` ${remainder} ${rest}` : "");
    }
    return `${whole} s`;
  };
  const say = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const tick = () => {
    const now = new Date();
    for (const time of all("time[datetime]")) {
      const date = new Date(time.dateTime);
      if (time.title) time.title = exact.format(date);
      say(time, "clock" in time.dataset ? clock.format(date) : relative(date, now));
    }
    for (const span of all("[data-until]")) say(span, duration((new Date(span.dataset.until) - now) / 1000));
    for (const span of all("[data-since]")) say(span, duration((now - new Date(span.dataset.since)) / 1000));
  };
  setInterval(tick, 1000);

  // --- errors of htmx, in words, where they happened -------------------------------------------------------------------

  const errorPlace = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const place = at.querySelector(":scope [data-errors]");
      if (place) return place;
    }
    return null;
  };
  const sayError = (event, text) => {
    const place = errorPlace(event.detail.elt);
    if (place) { place.textContent = text; place.hidden = false; }
  };
  const plain = (xhr) => (xhr.getResponseHeader("Content-Type") || "").startsWith("text/plain") && xhr.responseText;
  addEventListener("htmx:responseError", (event) => {
    const { xhr } = event.detail;
    sayError(event, plain(xhr) || `The server answered ${xhr.status} ${xhr.statusText}. Nothing was changed on this page; try again.`);
  });
  for (const name of ["htmx:sendError", "htmx:timeout"]) {
    addEventListener(name, (event) => sayError(event, "The server cannot be reached. Nothing was changed on this page; try again."));
  }
  addEventListener("htmx:afterRequest", (event) => {
    if (!event.detail.successful) return;
    const place = errorPlace(event.detail.elt);
    if (place) place.hidden = true;
  });
  // An address says what is filtered, not what is not.
  addEventListener("htmx:configRequest", (event) => {
    if (event.detail.verb !== "get") return;
    const { parameters } = event.detail;
    for (const name of [...new Set([...parameters.keys()])]) {
      const values = parameters.getAll(name).filter(Boolean);
      parameters.delete(name);
      for (const value of values) parameters.append(name, value);
    }
  });

  // --- a row opens in place: htmx fetches, this opens and closes --------------------------------------------------------

  const closeRow = (button) => {
    button.setAttribute("aria-expanded", "false");
    button.querySelector("[data-row-verb]").textContent = "View";
    document.getElementById(button.getAttribute("aria-controls")).hidden = true;
  };
  addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-row]");
    if (!button) return;
    if (button.getAttribute("aria-expanded") === "true") {
      event.preventDefault();
      event.stopImmediatePropagation();
      closeRow(button);
      return;
    }
    button.setAttribute("aria-expanded", "true");
    button.querySelector("[data-row-verb]").textContent = "Close";
    document.getElementById(button.getAttribute("aria-controls")).hidden = false;
  }, true);
  for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
    addEventListener(name, (event) => { if (event.detail.elt.matches?.("[data-row]")) closeRow(event.detail.elt); });
  }

  // --- values under the pointer, at the same step in every plot ---------------------------------------------------------

  let points = null; // {section, runs: [series by name]}: fetched when the pointer first comes to a plot
  const four = ({ value, infinite }) => {
    if (value === null) return { Infinity: "+∞", "-Infinity": "−∞" }[infinite] ?? "NaN";
    return Number(value.toPrecision(4)).toString();
  };
  // Of very many metrics only those that are drawn are fetched, so many at once as an address has room for.
  const namesOf = (section) => {
    const pieces = [""];
    if (!("some" in section.dataset)) return pieces;
    for (const plot of all("[data-plot]", section)) {
      const name = "&name=" + encodeURIComponent(plot.dataset.plot);
      if (pieces[0].length + name.length > 2000) pieces.unshift("");
      pieces[0] += name;
    }
    return pieces;
  };
  const seriesAt = async (address, pieces) => {
    const answers = await Promise.all(pieces.map((piece) => fetch(address + piece).then((answer) => (answer.ok ? answer.json() : {})).catch(() => ({}))));
    return Object.assign({}, ...answers);
  };
  const nearest = (series, step) => {
    let low = 0;
    for (let high = series.length - 1; low < high;) {
      const middle = (low + high) >> 1;
      if (series[middle].step < step) low = middle + 1; else high = middle;
    }
    return low > 0 && step - series[low - 1].step < series[low].step - step ? series[low - 1] : series[low];
  };
  const drawn = (plot, name) => {
    let mark = plot.querySelector("." + name);
    if (!mark) {
      mark = document.createElementNS("http://www.w3.org/2000/svg", "path");
      mark.setAttribute("class", name);
      plot.querySelector(":scope > svg").append(mark);
    }
    return mark;
  };
  const readAt = (step) => {
    for (const plot of all("[data-plot]")) {
      const { plot: name, first, last } = plot.dataset;
      let at = null;
      for (const place of all("[data-run]", plot)) {
        place.dataset.last ??= place.textContent;
        const series = step === null ? null : points.runs[place.dataset.run]?.[name];
        const point = series?.length ? nearest(series, step) : null;
        at ??= point?.step ?? null;
        say(place, point ? four(point) : place.dataset.last);
      }
      const label = plot.querySelector("[data-at]");
      if (label) say(label, at === null ? "" : `step ${at.toLocaleString("en")}: `);
      const x = at === null ? -1 : ((at - first) / (last - first || 1)) * 600;
      if (x < 0 || x > 600) plot.querySelector(".cross")?.remove();
      else drawn(plot, "cross").setAttribute("d", `M${x} 0V120`);
    }
  };
  const stepAt = (svg, x) => {
    const { first, last } = svg.parentElement.dataset;
    const box = svg.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (x - box.left) / box.width));
    return Number(first) + share * (last - first);
  };
  addEventListener("pointermove", async (event) => {
    if (drag) { drawDrag(event.clientX); return; }
    const svg = event.target.closest?.("[data-plot] > svg");
    if (!svg) { if (points?.shown) { points.shown = false; readAt(null); } return; }
    const step = stepAt(svg, event.clientX);
    const section = svg.closest("[data-points]");
    if (points?.section !== section) {
      points = { section, runs: [] };
      const addresses = section.dataset.points.trim().split(" ");
      const pieces = namesOf(section);
      points.runs = await Promise.all(addresses.map((each) => seriesAt(each, pieces)));
    }
    points.shown = true;
    readAt(step);
  });

  // --- a drag across a plot shows those steps in every plot; a double click shows all of them ---------------------------

  let drag = null; // {svg, from}
  const drawDrag = (x) => {
    const ends = [drag.from, x].map((each) => {
      const box = drag.svg.getBoundingClientRect();
      return Math.min(600, Math.max(0, ((each - box.left) / box.width) * 600));
    });
    drawn(drag.svg.parentElement, "zone").setAttribute("d", `M${ends[0]} 0H${ends[1]}V120H${ends[0]}Z`);
  };
  const endDrag = () => { drag?.svg.querySelector(".zone")?.remove(); drag = null; };
  addEventListener("pointerdown", (event) => {
    const svg = event.target.closest?.("[data-plot] > svg");
    if (svg && event.button === 0 && event.isPrimary) drag = { svg, from: event.clientX };
  });
  addEventListener("pointerup", (event) => {
    if (!drag) return;
    const { svg, from } = drag;
    endDrag();
    const form = svg.closest("[data-points]")?.querySelector("form[data-steps]");
    if (!form || Math.abs(event.clientX - from) < 8) return;
    const [first, last] = [from, event.clientX].map((x) => Math.round(stepAt(svg, x))).sort((a, b) => a - b);
    form.elements.first_step.value = first;
    form.elements.last_step.value = last;
    form.requestSubmit();
  });
  addEventListener("pointercancel", endDrag);
  addEventListener("keydown", (event) => { if (event.key === "Escape") endDrag(); });
  addEventListener("dblclick", (event) => {
    event.target.closest?.("[data-plot] > svg")?.closest("[data-points]")?.querySelector("[data-whole]")?.click();
  });

  // --- the list by keyboard, and what is selected in it ------------------------------------------------------------------

  const picks = () => all("#results .pick input[name=run]");
  const tell = () => {
    const chosen = picks().filter((pick) => pick.checked).length;
    for (const place of all("[data-selected]")) say(place, `${chosen} selected`);
    for (const box of all("[data-check-all]")) {
      box.checked = chosen > 0 && chosen === picks().length;
      box.indeterminate = chosen > 0 && !box.checked;
    }
  };
  addEventListener("change", (event) => {
    if (event.target.matches?.("[data-check-all]")) for (const pick of picks()) pick.checked = event.target.checked;
    tell();
  });
  const typing = (element) => element.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]");
  const rows = () => all("#results tbody > tr:not(.run-detail)");
  const keys = {
    j: () => move(1),
    k: () => move(-1),
    x: (row) => row?.querySelector(".pick input")?.click(),
    Enter: (row) => row?.querySelector("a.id")?.click(),
    "?": () => document.getElementById("keys").showModal(),
    c: () => all("#bulk [value=compare]").filter(() => picks().some((pick) => pick.checked)).forEach((button) => button.click()),
  };
  addEventListener("click", (event) => { if (event.target.closest?.("[data-keys]")) keys["?"](); });
  const move = (by) => {
    const list = rows();
    const at = list.findIndex((row) => row.hasAttribute("aria-current"));
    const next = list[Math.max(0, Math.min(list.length - 1, at < 0 ? 0 : at + by))];
    for (const row of list) row.removeAttribute("aria-current");
    next?.setAttribute("aria-current", "true");
    next?.scrollIntoView({ block: "nearest" });
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    if (typing(event.target) || (event.key === "Enter" && event.target !== document.body)) return;
    if (!document.getElementById("results") || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    keys[event.key](rows().find((row) => row.hasAttribute("aria-current")));
  });

  // --- numbers of a form, checked before they are sent -------------------------------------------------------------------

  const problemOf = ({ value, dataset }) => {
    const text = value.trim();
    if (!text) return "";
    const number = Number(text);
    const [minimum, maximum] = [Number(dataset.minimum), Number(dataset.maximum)];
    const fits = number >= minimum && number <= maximum && !("above" in dataset && number === minimum);
    return fits && !("whole" in dataset && !Number.isInteger(number)) ? "" : dataset.says;
  };
  const check = (input) => {
    const problem = problemOf(input);
    input.setCustomValidity(problem);
    const field = input.closest(".field");
    let place = field.querySelector(".error");
    if (!place && problem) {
      place = document.createElement("span");
      place.className = "error";
      place.id = `error-${input.name}`;
      field.append(place);
    }
    if (place) place.textContent = problem;
    input.toggleAttribute("aria-invalid", false);
    if (problem) { input.setAttribute("aria-invalid", "true"); input.setAttribute("aria-describedby", place.id); }
  };
  addEventListener("change", (event) => { if (event.target.matches?.("[data-says]")) check(event.target); });
  addEventListener("input", (event) => { if (event.target.matches?.("[data-says][aria-invalid]")) check(event.target); });
  // What is folded away cannot be pointed at.
  addEventListener("invalid", (event) => { for (let at = event.target.closest("details"); at; at = at.parentElement.closest("details")) at.open = true; }, true);

  // --- how far an upload is ---------------------------------------------------------------------------------------------

  const size = (bytes) => {
    const units = ["bytes", "KB", "MB", "GB"];
    const power = Math.min(3, Math.floor(Math.log(Math.max(1, bytes)) / Math.log(1000)));
    return `${(bytes / 1000 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
  };
  const progressOf = (form) => document.querySelector(`[data-progress-of="${form.id}"]`);
  addEventListener("htmx:xhr:progress", (event) => {
    const place = progressOf(event.target);
    const { loaded, total } = event.detail;
    if (!place || !total) return;
    place.hidden = false;
    const [bar, words] = [place.querySelector("progress"), place.querySelector("span")];
    if (loaded < total) bar.value = loaded / total; else bar.removeAttribute("value");
    say(words, loaded < total ? `${Math.floor((100 * loaded) / total)} % of ${size(total)}` : "It is here; every row is checked…");
  });
  addEventListener("htmx:afterRequest", (event) => { const place = progressOf(event.detail.elt); if (place) place.hidden = true; });
  addEventListener("click", (event) => {
    const place = event.target.closest?.("[data-stop]")?.closest("[data-progress-of]");
    if (place) htmx.trigger(`#${place.dataset.progressOf}`, "htmx:abort");
  });

  // --- small things -----------------------------------------------------------------------------------------------------

  const prepare = (within) => {
    tick();
    tell();
    for (const place of all("[data-hints], [data-check-all]")) place.hidden = false;
    for (const button of all("[data-copy]", within)) {
      if (!navigator.clipboard) continue;
      button.hidden = false;
      button.onclick = async () => {
        await navigator.clipboard.writeText(button.dataset.copy);
        button.title = "Copied";
        setTimeout(() => (button.title = "Copy"), 1500);
      };
    }
    for (const button of all("[data-theme-toggle]", within)) {
      const name = (scheme) => { button.title = "Colour scheme: " + scheme; button.setAttribute("aria-label", button.title); };
      button.hidden = false;
      name(stored());
      button.onclick = () => {
        const next = schemes[(schemes.indexOf(stored()) + 1) % schemes.length];
        try { localStorage.setItem("scheme", next); } catch { /* a private window keeps nothing */ }
        apply(next);
        name(next);
      };
    }
  };
  addEventListener("DOMContentLoaded", () => { prepare(document); for (const log of all(".log[data-follow]")) log.scrollTop = log.scrollHeight; });
  addEventListener("htmx:afterSwap", (event) => prepare(event.detail.target));

  // A poll waits while a menu is open: it would close it under the reader's hand.
  // A page that nobody sees asks for nothing.
  addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.elt.matches("[data-poll]") && (document.hidden || drag || document.querySelector(".menu[open], form[data-steps]:focus-within"))) event.preventDefault();
  });
  // A poll swaps parts of a page: what the reader has scrolled stays where it is, what followed the end follows it.
  let scrolled = {};
  let opened = {};
  addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target.matches?.("tr[aria-current]")) {
      event.detail.serverResponse = event.detail.serverResponse.replace("<tr ", '<tr aria-current="true" ');
    }
    scrolled = {};
    opened = Object.fromEntries(all("details[id]").map((details) => [details.id, details.open]));
    for (const log of all("pre[aria-label], .log[role=log]")) {
      scrolled[log.ariaLabel] = { top: log.scrollTop, atEnd: log.scrollTop + log.clientHeight >= log.scrollHeight - 4 };
    }
  });
  const follow = (log) => { log.scrollTop = log.scrollHeight; };
  // A page that follows a run for days keeps what can be read.
  const MAX_LINES = 5000;
  const settle = () => {
    for (const log of all(".log[data-follow]")) {
      for (const line of all("li", log).slice(0, -MAX_LINES)) line.remove();
      if (scrolled[log.ariaLabel]?.atEnd ?? true) follow(log);
    }
    for (const log of all("pre[aria-label]")) {
      const before = scrolled[log.ariaLabel];
      if (before) log.scrollTop = before.atEnd ? log.scrollHeight : before.top;
    }
    for (const details of all("details[id]")) if (details.id in opened) details.open = opened[details.id];
  };
  addEventListener("htmx:afterSwap", settle);
  addEventListener("htmx:oobAfterSwap", () => { prepare(document); settle(); });

  // A menu closes on Escape and on a click elsewhere; "/" goes to the search.
  addEventListener("click", (event) => { for (const menu of all(".menu[open]")) if (!menu.contains(event.target)) menu.open = false; });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") for (const menu of all(".menu[open]")) { menu.open = false; menu.querySelector("summary").focus(); }
    if (event.target.closest("input, select, textarea") || event.metaKey || event.ctrlKey || event.altKey) return;
    const search = document.querySelector("input[type=search]");
    if (event.key === "/" && search) { event.preventDefault(); search.focus(); }
  });
})();
