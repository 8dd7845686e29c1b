// The alarm: a bar over everything else, the tab's title and its icon.

import { make, set } from './dom.js';
import { span } from './words.js';

const CALM = '/page/icon.svg';
const ALARM = '/page/alarm.svg';
// At hand before it is needed: a node that is gone serves no icon.
let alarmIcon = ALARM;
fetch(ALARM).then(answer => answer.text()).then(text => { alarmIcon = `data:image/svg+xml,${encodeURIComponent(text)}`; }).catch(() => {});

const at = id => document.getElementById(id);

// Shows what `alarm` says, or nothing for null. `links`: pages of
// missing voters that answer this browser all the same, as [id, href].
export function show(alarm, links = []) {
  const bar = at('alarm');
  bar.hidden = !alarm;
  if (!alarm) {
    set(at('alarm-said'), '');
    return;
  }
  set(at('alarm-title'), alarm.title);
  set(at('alarm-for'), alarm.length ? `, for ${span(alarm.length)}` : '');
  set(at('alarm-detail'), alarm.detail);
  set(at('alarm-advice'), alarm.advice.text);
  set(at('alarm-command'), alarm.advice.command);
  // Read aloud once, and not with every second.
  set(at('alarm-said'), `${alarm.title}. ${alarm.detail}`);
  const text = links.map(([id]) => id).join();
  const others = at('alarm-others');
  others.hidden = !links.length;
  if (others.dataset.ids === text) return;
  others.dataset.ids = text;
  others.replaceChildren('Their pages: ', ...links.flatMap(([id, href], i) => {
    const link = make('a', '', id);
    link.href = href;
    return i ? [', ', link] : [link];
  }));
}

// The tab: what is wrong stands first.
export function tab(words, wrong) {
  if (document.title !== words) document.title = words;
  const icon = document.querySelector('link[rel="icon"]');
  const path = wrong ? alarmIcon : CALM;
  if (icon.getAttribute('href') !== path) icon.setAttribute('href', path);
}
