// What one page of the cluster tells the next: in the fragment of the link,
// which no server sees. A stranger may have written it, so nothing in it is
// believed beyond its form.

const given = new URLSearchParams(location.hash.slice(1));
if (given.has('colours')) history.replaceState(null, '', location.pathname + location.search);

const NAME = /^[A-Za-z0-9.-]{1,28}$/;

// The colours of nodes, as [id, slot] pairs.
export const colours = (given.get('colours') ?? '').split(',').map(pair => pair.split(':'))
  .filter(([id, slot]) => NAME.test(id) && /^\d{1,3}$/.test(slot)).map(([id, slot]) => [id, Number(slot)]);

// The node whose page was left because it no longer answered.
export const lost = NAME.test(given.get('lost') ?? '') ? given.get('lost') : '';

// What a link to another page of the cluster carries.
export function fragment(slots, gone = '') {
  const parts = new URLSearchParams({ colours: [...slots].map(([id, slot]) => `${id}:${slot}`).join(',') });
  if (gone) parts.set('lost', gone);
  return `#${parts}`;
}

// Where the page of another node is: all pages of a cluster are served in the same way.
export const pageAt = (status, address) => `${status.funk_page_scheme}://${address}/`;
