// The page around the tabs: the address names the open tab, doors on Home open tabs, copy buttons copy,
// and on a phone Generate, which is always at hand, leads to the progress.

import { tabButton, tabOf } from "./tabs.js";

document.body.classList.add("dark");
document.documentElement.lang = "en";

document.addEventListener("click", async (event) => {
  const door = event.target.closest?.("[data-tab]");
  if (door && tabButton(door.dataset.tab) && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    tabButton(door.dataset.tab).click();
    window.scrollTo({ top: 0 });
    return;
  }
  const generate = event.target.closest?.(".nm-actions button.primary");
  if (generate && matchMedia("(max-width: 640px)").matches) {
    generate.closest(".nm-result")?.scrollIntoView({ behavior: "smooth", block: "start" }); // the progress is there
  }
  const tab = tabOf(event.target);
  if (tab) {
    const address = new URL(window.location);
    address.searchParams.set("tab", tab);
    history.replaceState(history.state, "", address);
  }
  const copy = event.target.closest?.("[data-copy]");
  if (copy) {
    const said = copy.textContent;
    try {
      await navigator.clipboard.writeText(copy.dataset.copy);
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "Cannot copy here";
    }
    setTimeout(() => (copy.textContent = said), 1500);
  }
});
