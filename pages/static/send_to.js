// A button with `data-send` (the address of a clip) opens another tab and gives the clip to it there.

import { tabButton } from "./tabs.js";

const PLACE = "#genre-sent textarea, #genre-sent input";
const WAIT_MS = 15_000;
const OPENING_MS = 300; // gradio, when it has opened a tab, puts back the values it had before

async function waitFor(selector) {
  for (const end = performance.now() + WAIT_MS; performance.now() < end; await new Promise((r) => setTimeout(r, 100))) {
    const found = document.querySelector(selector);
    if (found) return found;
  }
  return null;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-send]");
  const tab = button && tabButton("genre_transfer");
  if (!tab) return;
  const { send: url, title } = button.dataset;
  tab.click();
  window.scrollTo({ top: 0 });
  const field = await waitFor(PLACE);
  if (!field) return;
  await new Promise((done) => setTimeout(done, OPENING_MS));
  await new Promise((done) => (window.requestIdleCallback ?? setTimeout)(done));
  const setter = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value").set; // as typed by hand
  setter.call(field, JSON.stringify({ url, title, at: Date.now() }));
  field.dispatchEvent(new Event("input", { bubbles: true }));
});
