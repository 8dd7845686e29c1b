//! The page: the status JSON, shown plainly. It needs nothing from elsewhere.

pub(super) const PAGE: &str = r#"<!doctype html>
<html lang="en"><meta charset="utf-8"><title>funk</title>
<style>
body { font: 16px/1.4 sans-serif; margin: 2rem; color: #222; background: #fff }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .2rem .8rem; text-align: left; border-bottom: 1px solid #ccc }
pre { background: #f4f4f4; padding: 1rem; overflow: auto }
</style>
<h1 id="title">funk</h1><p id="line">Loading.</p><table id="members"></table>
<details><summary>All of it</summary><pre id="json"></pre></details>
<script>
const at = id => document.getElementById(id);
function cell(row, kind, text) { const c = document.createElement(kind); c.textContent = text; row.append(c); }
async function show() {
  try {
    const s = await (await fetch('/api/v1/status')).json();
    at('title').textContent = s.node_id;
    at('line').textContent = `${s.state}, ${s.role} in ${s.cluster}; leader ${s.leader || 'unknown'}, term ${s.term}, ` +
      `epoch ${s.epoch}; ${s.shards_owned} of ${s.shards_total} shards; ${s.may_serve ? 'serving' : 'not serving'}`;
    const table = at('members'); table.textContent = '';
    const head = table.insertRow(); for (const h of ['node', 'serf', 'raft', 'leader', 'shards']) cell(head, 'th', h);
    for (const m of s.members) { const row = table.insertRow();
      for (const v of [m.id, m.serf, m.raft, m.leader ? 'yes' : '', m.shards]) cell(row, 'td', v); }
    at('json').textContent = JSON.stringify(s, null, 2);
  } catch (error) { at('line').textContent = 'No answer: ' + error; }
}
show(); setInterval(show, 1000);
</script></html>
"#;
