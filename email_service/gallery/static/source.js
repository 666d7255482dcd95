// Writes html as text in the colours of its parts: tags, attributes, values and comments. Knows no mail.
const PART = /<!--[\s\S]*?-->|<!?\/?[a-zA-Z][^\s>]*|\/?>|[\w:-]+(?==")|"[^"]*"/g;

export function paint(place, html) {
  const pieces = [];
  let last = 0;
  let isInTag = false;
  for (const found of html.matchAll(PART)) {
    const kind = kindOf(found[0], isInTag);
    if (kind === "t") isInTag = !found[0].endsWith(">");
    if (!kind) continue;
    pieces.push(html.slice(last, found.index), span(kind, found[0]));
    last = found.index + found[0].length;
  }
  place.replaceChildren(...pieces, html.slice(last));
}

function kindOf(part, isInTag) {
  if (part.startsWith("<!--")) return "c";
  if (part.startsWith("<")) return "t";
  if (!isInTag) return null;
  if (part.endsWith(">")) return "t";
  return part.startsWith('"') ? "v" : "a";
}

function span(kind, text) {
  const element = document.createElement("span");
  element.className = kind;
  element.textContent = text;
  return element;
}
