// Asking the node: one request at a time, and how old the latest answer is.

const PATIENCE = 4000;
// An answer that takes longer than this makes what is shown old.
const SLOW = 1800;

export async function ask(path) {
  const response = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE) });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

// One at a time: what is asked for meanwhile is asked for afterwards.
export function paced(job, pause) {
  let running = false;
  let again = false;
  let timer = 0;
  const run = async () => {
    timer = 0;
    if (running) { again = true; return; }
    running = true;
    try {
      await job();
    } finally {
      running = false;
      if (again) { again = false; soon(); }
    }
  };
  const soon = () => { if (!timer) timer = setTimeout(run, pause); };
  return soon;
}

// Whether the node answers, in the browser's clock.
export class Freshness {
  constructor() {
    this.last = 0;
    this.sent = 0;
    this.failed = 0;
  }

  asked() { this.sent = performance.now(); }

  answered() {
    this.last = performance.now();
    this.sent = 0;
    this.failed = 0;
  }

  refused() {
    this.sent = 0;
    this.failed ||= performance.now();
  }

  // Milliseconds since the latest answer if that is old; null while the node answers.
  get age() {
    const now = performance.now();
    const old = this.failed || (this.sent && now - this.sent > SLOW);
    return old ? now - this.last : null;
  }
}
