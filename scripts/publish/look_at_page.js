// What check_pages.py and check_site.py ask of an open page: {problems: [words], links: [relative targets]}.
// Where links, prose and text are looked for is a notebook's page, unless the caller names its own.
({
  shortestAlt, faintest,
  links: among = ".jp-Notebook a[href]",
  prose: blocksOfProse = ".jp-RenderedMarkdown :is(p, li, h1, h2, h3, h4, blockquote, summary)",
  text: root = "main",
}) => {
  const problems = [], links = [];
  const short = (text) => text.replace(/\s+/g, " ").trim().slice(0, 60);
  const ARABIC = /[\u0621-\u064a]/g, JOINING = /[\u0628\u062a-\u062e\u0633-\u063a\u0641-\u0647\u0649\u064a][\u0621-\u064a]/;
  const seen = (e) => e.getClientRects().length > 0;

  // Folded parts are prose as well.
  document.querySelectorAll("details").forEach((e) => (e.open = true));

  for (const e of document.querySelectorAll("details")) {
    if (e.textContent.trim() === (e.querySelector("summary") || e).textContent.trim()) problems.push(`nothing is folded under: ${short(e.textContent)}`);
  }

  // Links inside the page have their target; relative ones are handed back, to be looked for on disk.
  for (const a of document.querySelectorAll(among)) {
    const href = a.getAttribute("href");
    if (href.startsWith("#")) {
      const names = [href.slice(1), decodeURIComponent(href.slice(1))]; // a browser tries the one, then the other
      if (names[0] && !names.some((name) => document.getElementById(name) || document.getElementsByName(name).length)) problems.push(`link leads nowhere: ${href}`);
    } else if (!/^[a-z]+:/i.test(href)) links.push(decodeURIComponent(href));
  }

  // Every image says what it shows.
  for (const image of document.querySelectorAll("img")) {
    const alt = (image.getAttribute("alt") || "").trim();
    if (alt.length < shortestAlt || /^(image|figure|no description)/i.test(alt)) problems.push(`image without alt text: ${alt || image.src.slice(0, 40)}`);
  }

  // Prose keeps within the page; code and tables of data may scroll in their own boxes.
  const page = document.documentElement;
  if (page.scrollWidth > page.clientWidth + 1) problems.push(`the page is ${page.scrollWidth} px wide in a window of ${page.clientWidth}`);
  for (const e of document.querySelectorAll(blocksOfProse)) {
    if (/\$/.test(e.textContent)) continue; // a formula that MathJax has not set
    const box = e.getBoundingClientRect();
    if (box.right > page.clientWidth + 1 || e.scrollWidth > e.clientWidth + 1) problems.push(`prose overflows: ${short(e.textContent)}`);
  }

  // The text nodes of the notebook that can be seen, outside of editors' helper elements.
  const walker = document.createTreeWalker(document.querySelector(root) || document.body, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (walker.currentNode.data.trim() && seen(e) && !e.closest("script, style, svg, math, .MathJax, .jp-InputPrompt, .jp-OutputPrompt")) nodes.push(walker.currentNode);
  }

  // Arabic letters join: a word is drawn otherwise than its letters kept apart by zero width non-joiners. Widths would not do, because
  // a monospaced font gives joined and single letters the same.
  const drawn = (text, font) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 300, height: 60 });
    const pen = canvas.getContext("2d");
    pen.font = font;
    pen.fillText(text, 150, 40);
    return canvas.toDataURL();
  };
  const looks = new Set();
  for (const node of nodes) {
    const word = (node.data.match(/[\u0621-\u064a]{3,}/g) || []).find((w) => JOINING.test(w));
    if (!word) continue;
    const style = getComputedStyle(node.parentElement);
    if (style.letterSpacing !== "normal") problems.push(`Arabic with letter spacing: ${word}`);
    if (looks.has(style.font)) continue;
    looks.add(style.font);
    if (drawn(word, style.font) === drawn([...word].join("\u200c"), style.font)) problems.push(`Arabic is not joined: ${word} in ${style.fontFamily.slice(0, 40)}`);
  }

  // A block of Arabic prose runs from right to left. Words that are set apart (bdi) or find their own direction run as they should in any block.
  const BLOCK = "p, li, td, th, h1, h2, h3, h4, blockquote, div";
  const apart = (node) => {
    for (let e = node.parentElement; e; e = e.matches(BLOCK) ? null : e.parentElement) {
      if (e.tagName === "BDI" || getComputedStyle(e).unicodeBidi === "plaintext") return true;
    }
    return false;
  };
  const prose = nodes.filter((node) => !node.parentElement.closest("pre, code, .highlight") && !apart(node));
  const blocks = new Set(prose.map((node) => node.parentElement.closest(BLOCK)));
  for (const block of blocks) {
    const text = prose.filter((node) => block?.contains(node)).map((node) => node.data).join(" ");
    const arabic = (text.match(ARABIC) || []).length, latin = (text.match(/[A-Za-z]/g) || []).length;
    if (arabic > 12 && arabic > 2 * latin && getComputedStyle(block).direction !== "rtl") problems.push(`Arabic prose runs from left to right: ${short(text)}`);
  }

  // Text stands out from what is behind it. Pictures are passed over; opacity counts.
  const numbers = (colour) => (colour.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const over = ([r, g, b, a = 1], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a)];
  const light = (c) => {
    const [r, g, b] = c.map((v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const known = new Map([[null, { behind: [255, 255, 255], opacity: 1 }]]); // element -> what its text stands on
  const ground = (e) => {
    if (!known.has(e)) {
      const style = getComputedStyle(e), below = ground(e.parentElement);
      known.set(e, { behind: over(numbers(style.backgroundColor), below.behind), opacity: below.opacity * Number(style.opacity) });
    }
    return known.get(e);
  };
  const dim = new Map();
  for (const node of nodes) {
    const { behind, opacity } = ground(node.parentElement);
    const ink = numbers(getComputedStyle(node.parentElement).color);
    const front = over([ink[0], ink[1], ink[2], (ink[3] ?? 1) * opacity], behind);
    const [high, low] = [light(front), light(behind)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < faintest) {
      const look = `${front.map(Math.round)} on ${behind.map(Math.round)}`;
      if (!dim.has(look)) dim.set(look, [ratio, short(node.data), 0]);
      dim.get(look)[2] += 1;
    }
  }
  for (const [look, [ratio, text, times]] of dim) problems.push(`text is too faint, ratio ${ratio.toFixed(1)} (${look}), ${times} times, first: ${text}`);
  return { problems: [...new Set(problems)], links: [...new Set(links)] };
}
