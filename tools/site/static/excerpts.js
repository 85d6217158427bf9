// Below each page that the search finds, the words around the place.  Sphinx would fetch the page for it, which browsers
// do not allow from the disk; so the texts of all pages are in texts.js, which the search page alone loads.
"use strict";
{
  const terms = (new URLSearchParams(location.search).get("q") || "").toLowerCase().split(/[^\p{L}\p{N}_]+/u).filter(Boolean);

  function excerpt(text) {
    const lower = text.toLowerCase();
    const at = Math.min(...terms.map(term => lower.indexOf(term)).filter(found => found >= 0));
    const start = at > 100 && at < text.length ? text.lastIndexOf(" ", at - 80) + 1 : 0;
    return (start ? "... " : "") + text.slice(start, start + 240).trim() + (start + 240 < text.length ? " ..." : "");
  }

  function add(item) {
    const link = item.querySelector("a");
    if (!link || item.querySelector(".context")) return;
    const [page, place] = link.getAttribute("href").split("#");
    const text = TEXTS[page.replace(/\.html.*$/, "")];
    if (!text || (place && item.querySelector("span"))) return;  // of a name Sphinx says what it is
    const shown = document.createElement("p");
    shown.className = "context";
    shown.textContent = excerpt(text);
    item.append(shown);
  }

  addEventListener("DOMContentLoaded", () => {
    const results = document.getElementById("search-results");
    const look = () => results.querySelectorAll("ul.search > li").forEach(add);
    new MutationObserver(look).observe(results, {childList: true, subtree: true});
    look();
  });
}
