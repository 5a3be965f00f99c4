// What everything that plays has in common: one sounds at a time, all are told of and asked in the same way.

export const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
const ICON = { play: "M8 5v14l11-7z", pause: "M7 5h4v14H7zM13 5h4v14h-4z" };

/** Tell every other player on the page that this one begins. */
export const begin = (player) => document.dispatchEvent(new CustomEvent("nm-begin", { detail: player }));

/** Tell the card that the player is in what is played now, in seconds. */
export const tell = (player, now) =>
  player.dispatchEvent(new CustomEvent("nm-time", { bubbles: true, detail: { now } }));

/** The round button as it should look and be called. */
export function dressButton(button, paused, label) {
  const said = `${paused ? "Play" : "Pause"} ${label}`;
  if (button.getAttribute("aria-label") === said) return;
  button.setAttribute("aria-label", said);
  button.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${paused ? ICON.play : ICON.pause}"/></svg>`;
}

/** A round button without a picture yet. */
export function roundButton() {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "nm-play";
  return button;
}
