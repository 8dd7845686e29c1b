// The event stream, and coming back to it.

const FIRST_WAIT = 400;
const LONGEST_WAIT = 3000;

// Calls back with `event(object)`, `resync(missed)`, `open()` and `lost()`,
// for ever. After a loss it goes on from the last event that it saw.
export function follow({ event, resync, open, lost }) {
  let last = '';
  let wait = FIRST_WAIT;
  let timer = 0;
  let source = null;

  function connect() {
    clearTimeout(timer);
    timer = 0;
    source = new EventSource(`/api/v1/events?since=${last}`);
    source.onopen = () => {
      wait = FIRST_WAIT;
      open();
    };
    source.onmessage = message => {
      last = message.lastEventId;
      event(JSON.parse(message.data));
    };
    source.addEventListener('resync', message => resync(JSON.parse(message.data).missed));
    source.onerror = () => {
      source.close();
      lost();
      timer = setTimeout(connect, wait);
      wait = Math.min(wait * 1.5, LONGEST_WAIT);
    };
  }

  // Somebody looks again: no need to wait out the pause.
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && timer) connect();
  });
  connect();
}
