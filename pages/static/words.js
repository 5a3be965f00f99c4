// Chips and prompt are one thing seen twice: words of a group are added to or taken from the text.
// Functions are pure, so a test can call them without a page.

const pattern = (word) =>
  new RegExp(`(?<![\\p{L}\\d-])${word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(?![\\p{L}\\d-])`, "iu");

/** Whether the text contains the word as a whole. */
const has = (text, word) => pattern(word).test(text);

/** The text without the word, and without the comma it leaves behind. */
function without(text, word) {
  return text
    .replace(pattern(word), "")
    .replace(/\s*,(\s*,)+/g, ",")
    .replace(/^[\s,]+|[\s,]+$/g, "")
    .replace(/\s+,/g, ",")
    .replace(/\s{2,}/g, " ");
}

/** Text and chosen words after the user changed the chips of one group. */
function toggleWords(group, text, chosen) {
  let prompt = text ?? "";
  const added = chosen.filter((word) => !has(prompt, word));
  const kept = group.exclusive && added.length ? added.slice(-1) : chosen;
  for (const word of group.words) if (!kept.includes(word) && has(prompt, word)) prompt = without(prompt, word);
  for (const word of added.filter((w) => kept.includes(w))) prompt = prompt.trim() ? `${prompt.trim()}, ${word}` : word;
  return [prompt, kept];
}

/** For every group the words that stand in the text. */
function wordsIn(groups, text) {
  const found = groups.map((group) => group.words.filter((word) => has(text ?? "", word)));
  return found.length === 1 ? found[0] : found;
}

window.neuromuse = { ...window.neuromuse, toggleWords, wordsIn };
