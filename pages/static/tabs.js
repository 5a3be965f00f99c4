// The buttons of the tabs. On a narrow screen gradio puts those that find no room into a menu, without an id.

const HERE = "button[role=tab][id^=tab-]";
const IN_MENU = ".overflow-menu .overflow-dropdown button";
const titles = () => Object.entries(JSON.parse(document.querySelector("meta[name=nm-tabs]")?.content ?? "{}"));

/** The button of the tab with this id, or nothing. */
export function tabButton(id) {
  const title = titles().find(([name]) => name === id)?.[1];
  return (
    document.getElementById(`tab-${id}-button`) ??
    [...document.querySelectorAll(IN_MENU)].find((button) => button.textContent.trim() === title)
  );
}

/** The id of the tab whose button, or a part of it, this element is, or nothing. */
export function tabOf(element) {
  const button = element.closest?.(`${HERE}, ${IN_MENU}`);
  if (button?.id) return button.id.replace(/^tab-|-button$/g, "");
  return button && titles().find(([, title]) => title === button.textContent.trim())?.[0];
}
