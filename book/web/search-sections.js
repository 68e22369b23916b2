// Search finds sections: the search page's own script knows pages and their titles only.
//
// Two steps of that script are widened. A query whose words all stand in a section's title finds the section, however long the
// title is. And under each page that was found stand its sections that hold most of the query's words, with a line of each.
"use strict";

(() => {
  if (typeof Search === "undefined") return;

  const SECTIONS_OF_A_PAGE = 3;
  const TITLE_SCORE = 20; // above a page's own title in the script's scores
  const LINE = 180; // characters of a section that are shown

  const folded = (text) => text.toLowerCase();

  /** Results for the section titles that hold every word of a query. */
  const titleResults = (words) => {
    const { alltitles, docnames, filenames, titles } = Search._index;
    const holds = ([title]) => words.every((word) => folded(title).includes(word));
    return Object.entries(alltitles)
      .filter(holds)
      .flatMap(([title, places]) =>
        places
          .filter(([, id]) => id !== null) // else the page's own title, which the page's script finds
          .map(([file, id]) => [
            docnames[file],
            `${titles[file]} <span aria-hidden="true">›</span> ${title.replace(/[<&]/g, (c) => `&#${c.charCodeAt(0)};`).trim()}`,
            `#${id}`,
            null,
            TITLE_SCORE,
            filenames[file],
          ]),
      );
  };

  const pagesAlone = Search._performSearch;
  Search._performSearch = (query, ...terms) => {
    const words = splitQuery(folded(query));
    const found = words.length ? titleResults(words) : [];
    const places = new Set(found.map(([doc, , anchor]) => doc + anchor));
    // shown from the last to the first
    return [...pagesAlone(query, ...terms).filter(([doc, , anchor]) => !places.has(doc + anchor)), ...found.reverse()];
  };

  /** A section's own prose: without its subsections, code, links to itself and scripts. */
  const ownText = (section) => {
    const copy = section.cloneNode(true);
    copy.querySelectorAll("section, .cell_input, .headerlink, script, style, h1, h2, h3, h4").forEach((node) => node.remove());
    return copy.textContent.replace(/\\[()[\]]/g, "").replace(/\s+/g, " ").trim(); // without the signs around formulas
  };

  const count = (text, term) => folded(text).split(term).length - 1;

  /** How well a section answers: how many of the terms it has, then how often, a title's counting five times. */
  const scored = (section, terms) => {
    const heading = section.querySelector(":scope > :is(h1, h2, h3, h4)");
    const title = heading ? heading.textContent.replace(/[#¶]\s*$/, "").trim() : "";
    const text = ownText(section);
    const hits = terms.map((term) => count(text, term) + 5 * count(title, term));
    return { id: section.id, title, text, terms: hits.filter(Boolean).length, hits: hits.reduce((a, b) => a + b, 0) };
  };

  /** A line of a text around the first of the terms, each marked. */
  const line = (text, terms) => {
    const element = document.createElement("p");
    const first = terms.map((term) => folded(text).indexOf(term)).filter((at) => at >= 0);
    const near = Math.max(0, Math.min(...first, text.length) - LINE / 3);
    const from = near && text.indexOf(" ", near) + 1; // whole words
    const shown = text.slice(from, from + LINE);
    const marks = new RegExp(`(${terms.map(_escapeRegExp).join("|")})`, "gi");
    shown.split(marks).forEach((part, n) => {
      const node = n % 2 ? document.createElement("mark") : document.createElement("span");
      node.textContent = part;
      element.append(node);
    });
    element.prepend(from > 0 ? "… " : "");
    element.append(from + LINE < text.length ? " …" : "");
    return element;
  };

  const summaryAlone = Search.makeSearchSummary;
  Search.makeSearchSummary = (whole, keywords, anchor) => {
    const html = whole.replace(/\son[a-z]+="[^"]*"/g, ""); // parsing a handler is a violation of the page's policy
    const page = new DOMParser().parseFromString(html, "text/html");
    const terms = [...keywords];
    const name = /DOCUMENTATION_OPTIONS\.pagename = '([^']+)'/.exec(html);
    const sections = [...page.querySelectorAll("article section[id]")];
    if (!name || !terms.length || !sections.length) return summaryAlone(html, keywords, anchor);
    if (anchor) {
      const section = sections.find((each) => `#${each.id}` === anchor);
      return section ? line(ownText(section), terms) : summaryAlone(html, keywords, anchor);
    }
    const best = sections
      .map((section) => scored(section, terms))
      .filter((each) => each.terms && each.title)
      .sort((a, b) => b.terms - a.terms || b.hits - a.hits)
      .slice(0, SECTIONS_OF_A_PAGE);
    const list = document.createElement("ul");
    list.className = "found-sections";
    for (const each of best) {
      const link = document.createElement("a");
      link.href = `${document.documentElement.dataset.content_root}${name[1]}.html#${each.id}`;
      link.textContent = each.title;
      const item = list.appendChild(document.createElement("li"));
      item.append(link, line(each.text, terms));
    }
    return best.length ? list : summaryAlone(html, keywords, anchor);
  };
})();
