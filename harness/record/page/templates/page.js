"use strict";
// The page works without this: it opens what a link leads to, and what is to be printed.
function reveal() {
  const name = decodeURIComponent(location.hash.slice(1));
  let at = name ? document.getElementById(name) : null;
  const goal = at;
  for (; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  if (goal) goal.scrollIntoView();
}
addEventListener("hashchange", reveal);
addEventListener("DOMContentLoaded", reveal);
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details.print:not([open])")];
  for (const each of closed) each.open = true;
});
addEventListener("afterprint", () => { for (const each of closed) each.open = false; });
