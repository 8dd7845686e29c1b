// Light or dark: the system's choice until the reader makes one. Runs before
// the first paint, so that the page never flashes in the other colours.
(() => {
  const root = document.documentElement;
  const system = matchMedia('(prefers-color-scheme: dark)');
  const remembered = () => { try { return localStorage.getItem('funk-theme'); } catch { return null; } };
  const dark = () => (root.dataset.theme ? root.dataset.theme === 'dark' : system.matches);

  const kept = remembered();
  if (kept === 'dark' || kept === 'light') root.dataset.theme = kept;

  function tell() {
    const button = document.getElementById('theme');
    if (button) button.setAttribute('aria-pressed', String(dark()));
    dispatchEvent(new Event('themechange'));
  }

  addEventListener('DOMContentLoaded', () => {
    tell();
    document.getElementById('theme').addEventListener('click', () => {
      root.dataset.theme = dark() ? 'light' : 'dark';
      try { localStorage.setItem('funk-theme', root.dataset.theme); } catch { /* private windows forget */ }
      tell();
    });
  });
  system.addEventListener('change', tell);
})();
