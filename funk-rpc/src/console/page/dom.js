// Small helpers for building elements. Data only ever becomes text.

export function make(tag, name, ...children) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.append(...children);
  return element;
}

// Changes a text only where it differs, so that nothing is laid out or read aloud for naught.
export function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Parts of a sentence, where { who } is a node's name.
export const spoken = said => said.map(part => (part.who ? make('strong', '', part.who) : part));
