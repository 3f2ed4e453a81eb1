// What check_site.py asks of an open page of the site. Each function is called by its name.
({
  // What a reader finds before touching anything: {problems, ids, links}; links are whole addresses.
  arrive() {
    this.still();
    const problems = [];
    const short = (e) => (e.textContent || e.outerHTML).replace(/\s+/g, " ").trim().slice(0, 60);
    for (const e of document.querySelectorAll("article details[open]")) problems.push(`stands open: ${short(e)}`);
    for (const e of document.querySelectorAll("article :is(p, li, td, th, h1, h2, h3, summary)")) {
      if (/(^|\s)\${1,2}\\?[A-Za-z\\]|\\\w+\{/.test(e.textContent) && !e.querySelector("pre, code, math")) problems.push(`a formula is not set: ${short(e)}`);
    }
    for (const e of document.querySelectorAll("math merror, .math")) problems.push(`a formula is not set: ${short(e)}`);

    // A table that is wider than its place has a box to scroll in, and nothing is cut off by a box that cannot scroll.
    for (const e of document.querySelectorAll("article :is(table, pre, img, math)")) {
      if (!e.getClientRects().length) continue;
      const right = e.getBoundingClientRect().right;
      for (let box = e; box.tagName !== "ARTICLE"; box = box.parentElement) {
        const style = getComputedStyle(box).overflowX;
        if (/auto|scroll/.test(style)) break;
        if (style === "hidden" && right > box.getBoundingClientRect().right + 1) problems.push(`cut off: ${e.tagName.toLowerCase()} ${short(e)}`);
      }
    }
    const named = [...document.querySelectorAll("[id], a[name]")].map((e) => e.id || e.name);
    named.forEach((id, n) => named.indexOf(id) < n && problems.push(`two elements have the id ${id}`));
    return { problems, ids: named, links: [...document.querySelectorAll("a[href]")].map((a) => a.href) };
  },

  // Nothing moves or fades while it is looked at.
  still() {
    const style = document.createElement("style");
    style.textContent = "* { transition: none !important; animation: none !important; scroll-behavior: auto !important }";
    document.head.append(style);
  },

  // Number what can be reached by Tab and note how it looks without focus. Returns how many there are.
  number() {
    this.still();
    window.what = (e) => `${e.tagName.toLowerCase()} ${[e.textContent.trim() || e.ariaLabel || e.title || e.placeholder || e.href, e.className].join(" .").replace(/\s+/g, " ").trim().slice(0, 90)}`;
    const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")];
    window.reachable = all.filter((e) => e.tabIndex >= 0 && !e.disabled && e.checkVisibility({ visibilityProperty: true }) && !e.closest("[inert]"));
    window.look = (e) => {
      const s = getComputedStyle(e);
      return [s.outlineStyle === "none" ? "" : s.outline, s.boxShadow, s.backgroundColor, s.borderColor, s.textDecoration].join("|");
    };
    window.before = window.reachable.map(window.look);
    return window.reachable.length;
  },

  // Which of them has the focus (-1: none), whether that can be seen, and whether it is on the page.
  focused() {
    const e = document.activeElement, place = window.reachable.indexOf(e), box = e.getBoundingClientRect();
    const inside = box.width > 0 && box.height > 0 && box.right > 0 && box.left < innerWidth && box.bottom > 0 && box.top < innerHeight;
    return { place, seen: place < 0 || window.look(e) !== window.before[place], inside, page: e === document.body, what: window.what(e) };
  },

  // The words of those that were not reached.
  missed(reached) {
    return window.reachable.filter((_, n) => !reached.includes(n)).map(window.what);
  },
})
