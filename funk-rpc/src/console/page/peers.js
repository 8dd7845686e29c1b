// The other members' pages: who has one, and whether it answers this browser.
// Nothing of another node's answer can be read from here, only that it came.

import { pageAt } from './fragment.js';

const PATIENCE = 1500;
const AGAIN = 4000;
const PAGES_MAX = 8;

// By id: { address, href, rank, answered (once), answers (now) }.
const pages = new Map();

const isUp = member => member.serf === 'alive' || member.serf === 'leaving';

// Lower ranks are better places to go on from.
function rank(member) {
  if (member.leader) return 0;
  if (member.raft) return member.raft === 'Voter' ? 1 : 2;
  return member.endpoints['ep.raft'] ? 3 : 4;
}

async function knock(page) {
  page.asked = performance.now();
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    await fetch(`${page.href}healthz`, { mode: 'no-cors', cache: 'no-store', credentials: 'omit', signal });
    page.answered = true;
    page.answers = true;
  } catch {
    page.answers = false;
  }
  return page.answers;
}

// Remembers the pages of those that are up, and knocks once at each new one:
// only a page that answered this browser before can be missed later.
export function learn(status) {
  // A browser fetches nothing over HTTP for a page that came over HTTPS.
  if (location.protocol === 'https:' && status.funk_page_scheme !== 'https') return;
  for (const member of status.members) {
    const address = member.endpoints['ep.httpConsole'];
    const old = pages.get(member.id);
    if (!address || member.id === status.node_id || !isUp(member)) continue;
    if (old?.address === address) {
      old.rank = rank(member);
    } else if (old || pages.size < PAGES_MAX) {
      const page = { address, href: pageAt(status, address), rank: rank(member), answered: false, answers: false, asked: 0 };
      pages.set(member.id, page);
      knock(page);
    }
  }
  const there = new Set(status.members.map(member => member.id));
  for (const id of pages.keys()) if (!there.has(id)) pages.delete(id);
}

// Knocks at the pages again, in trouble; those asked a moment ago are spared.
export async function check() {
  const due = [...pages.values()].filter(page => page.answered && performance.now() - page.asked > AGAIN);
  await Promise.all(due.map(knock));
  return due.length > 0;
}

// The ids of those whose page answered this browser and no longer does.
export const silent = () => new Set([...pages].filter(([, page]) => page.answered && !page.answers).map(([id]) => id));

// The pages that answered this browser after `since`, as id to href.
export function answering(since) {
  const found = [...pages].filter(([, page]) => page.answers && page.asked >= since);
  return new Map(found.map(([id, page]) => [id, page.href]));
}

// The first page that answers now, as { id, address }; null if none does.
export async function next() {
  const known = [...pages].filter(([, page]) => page.answered).sort(([, a], [, b]) => a.rank - b.rank);
  for (const [id, page] of known) if (await knock(page)) return { id, address: page.address };
  return null;
}
