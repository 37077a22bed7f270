"use strict";
// Shows only the tests and findings that hold each word that was typed. Without this script the page shows all.
const form = document.getElementById("search");
const input = form.querySelector("input");
const count = form.querySelector("output");
const lists = [...document.querySelectorAll("pre.tests")].map(list => ({ list, lines: list.textContent.split("\n") }));
const single = [...document.querySelectorAll("details.one")].map(box => ({ box, text: box.textContent.toLowerCase() }));
const OPEN_MAX = 200;

function show() {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = text => words.every(word => text.includes(word));
  let found = 0;
  for (const { box, text } of single) box.hidden = !fits(text);
  for (const { list, lines } of lists) {
    const suite = list.getAttribute("aria-label").toLowerCase();
    const kept = words.length ? lines.filter(line => fits(suite + " " + line.toLowerCase())) : lines;
    found += kept.length;
    list.textContent = kept.join("\n");
    const box = list.closest("details");
    box.hidden = !kept.length;
    if (words.length && kept.length && found <= OPEN_MAX) {
      box.open = true;
      box.parentElement.closest("details").open = true;
    }
  }
  count.textContent = words.length ? found + (found === 1 ? " test" : " tests") : "";
}

form.hidden = false;
form.addEventListener("submit", event => event.preventDefault());
input.addEventListener("input", show);
