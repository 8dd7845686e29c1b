// One colour for each node, the same for as long as it is known. The palette
// keeps apart under the common kinds of colour blindness, and no colour ever
// stands without a name beside it.

import * as handed from './fragment.js';

const SLOTS = 10;
// Pages of one cluster hand their colours on.
const slots = new Map(handed.colours);

// Gives every id a slot; those that are gone give theirs up when all are taken.
export function assign(ids, gone = new Set()) {
  for (const id of ids) {
    if (slots.has(id)) continue;
    const taken = new Set(slots.values());
    let slot = 0;
    while (taken.has(slot)) slot += 1;
    if (slot >= SLOTS) {
      const heir = [...slots].find(([old, at]) => at < SLOTS && gone.has(old));
      if (heir) {
        slots.delete(heir[0]);
        slot = heir[1];
      }
    }
    slots.set(id, slot);
  }
}

// The CSS colour of a node.
export function colour(id) {
  const slot = slots.get(id);
  if (slot === undefined) return 'var(--nobody)';
  if (slot < SLOTS) return `var(--node-${slot})`;
  const hue = Math.round((slot * 137.508) % 360);
  return `light-dark(hsl(${hue} 45% 48%), hsl(${hue} 50% 66%))`;
}

// What a link to another page of the cluster carries; `gone` is the node that is left.
export const fragment = gone => handed.fragment(slots, gone);

const probe = document.createElement('span');

// The same colour as [red, green, blue], in the present theme.
export function rgb(css) {
  if (!probe.isConnected) {
    probe.hidden = true;
    document.body.append(probe);
  }
  probe.style.color = '';
  probe.style.color = css;
  const parts = getComputedStyle(probe).color.match(/[\d.]+/g) ?? ['128', '128', '128'];
  return parts.slice(0, 3).map(Number);
}
