//! The status page in a real browser: it follows the cluster without a
//! reload, comes back by itself, needs nothing from elsewhere, and can be read
//! by everybody.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Instant;

use funk_tests::blackbox::Tested;
use funk_tests::blackbox::browser::Browser;
use funk_tests::blackbox::cluster::{DemoCluster, GENEROUS};
use funk_tests::blackbox::{ports, workspace};
use rustix::process::Signal;
use serde_json::Value;

/// Says in which run of the page a script runs: a reload forgets it.
const MARK: &str = "window.untouched = true";
const LIVE: &str = "document.documentElement.dataset.connection === 'live'";
const LOST: &str = "document.documentElement.dataset.connection === 'lost'";

fn page(cluster: &mut DemoCluster, node: usize) -> Result<String, String> {
    Ok(format!("http://{}/", cluster.page(node)?))
}

/// Whether the member table shows `id` with something about it.
fn row(id: &str, condition: &str) -> String {
    let row = format!("document.querySelector('#members tr[data-id=\"{id}\"]')");
    format!("{row} && (row => {condition})({row})")
}

/// Whether the list of what happened says all of `words`.
fn told(words: &str) -> String {
    format!("document.getElementById('feed').textContent.includes('{words}')")
}

/// Whether the element `id` is shown, and says `words`.
fn says(id: &str, words: &str) -> String {
    format!("(it => it.checkVisibility() && it.innerText.includes('{words}'))(document.getElementById('{id}'))")
}

fn untouched(browser: &Browser) -> Tested {
    assert_eq!(browser.run("return window.untouched")?, true, "the page was not loaded again");
    Ok(())
}

#[test]
fn the_page_follows_a_kill_a_join_and_a_move_without_a_reload() -> Tested {
    let Some(browser) = Browser::start("page-follows")? else { return Ok(()) };
    let mut cluster = DemoCluster::start("page", 3)?;
    let leader = cluster.leader()?;
    let seen_from = cluster.follower()?;
    browser.open(&page(&mut cluster, seen_from)?)?;
    browser.run(MARK)?;
    browser.wait("the page to be live", GENEROUS, LIVE)?;
    for id in ["n0", "n1", "n2"] {
        browser.wait("three shares", GENEROUS, &row(id, "row.dataset.shards > 3000"))?;
    }
    let canvas = "document.getElementById('map-canvas')";
    browser.wait("the map", GENEROUS, &format!("{canvas}.ariaLabel.startsWith('Map of 10,000 shards')"))?;

    let dead = cluster.nodes[leader].id.clone();
    cluster.nodes[leader].process.signal(Signal::KILL);
    browser.wait("the kill", GENEROUS, &row(&dead, "row.dataset.serf === 'failed' && row.dataset.shards === '0'"))?;
    browser.wait("the words for it", GENEROUS, &told(&format!("{dead} was lost")))?;
    let gone = format!("![...document.querySelectorAll('#map-labels span')].some(it => it.textContent === '{dead}')");
    browser.wait("its territory to go", GENEROUS, &gone)?;
    let elsewhere = format!("![...document.querySelectorAll('#terms li')].at(-1).textContent.includes('{dead}')");
    browser.wait("another leader", GENEROUS, &elsewhere)?;

    let picture = browser.run(&format!("return {canvas}.toDataURL()"))?;
    let joined = cluster.join()?;
    let id = cluster.nodes[joined].id.clone();
    browser.wait("the join", GENEROUS, &told(&format!("{id} joined")))?;
    let moved = format!("/{id} joined and took|over to .*{id}/.test(document.getElementById('feed').textContent)");
    browser.wait("the move", GENEROUS, &moved)?;
    browser.wait("its share", GENEROUS, &row(&id, "row.dataset.shards > 3000"))?;
    let labelled = format!("[...document.querySelectorAll('#map-labels span')].some(it => it.textContent === '{id}')");
    browser.wait("its territory", GENEROUS, &labelled)?;
    assert_ne!(browser.run(&format!("return {canvas}.toDataURL()"))?, picture, "the map changed");

    untouched(&browser)?;
    // On a busy machine an election may take so long that the page looks for the dead node's page.
    let said: Vec<_> = browser.console()?.into_iter().filter(|line| !line.contains("/healthz")).collect();
    assert!(said.is_empty(), "the console is silent: {said:#?}");
    Ok(())
}

#[test]
fn the_page_comes_back_by_itself_when_its_node_does() -> Tested {
    let Some(browser) = Browser::start("page-returns")? else { return Ok(()) };
    let address = ports::free()?.to_string();
    let mut cluster = DemoCluster::empty("page-returns", &["--http-endpoint", &address])?;
    let first = cluster.bootstrap()?;
    browser.open(&page(&mut cluster, first)?)?;
    browser.run(MARK)?;
    browser.wait("the page to be live", GENEROUS, LIVE)?;

    cluster.nodes[first].process.signal(Signal::KILL);
    browser.wait("the loss to show", GENEROUS, LOST)?;
    browser.wait("the age of what is shown", GENEROUS, &says("connection", "No answer for"))?;
    browser.wait("it beside the node too", GENEROUS, &says("age", " old"))?;
    for fact in ["fact-state", "fact-lease"] {
        let text = browser.run(&format!("return document.getElementById('{fact}').textContent"))?;
        assert_eq!(text, "unknown", "{fact} of a node that does not answer");
    }

    cluster.nodes[first].process.wait(GENEROUS)?;
    let second = cluster.bootstrap()?;
    assert_eq!(page(&mut cluster, second)?, format!("http://{address}/"));
    browser.wait("the page to be live again", GENEROUS, LIVE)?;
    browser.wait("the new run to show", GENEROUS, &told("was restarted"))?;
    let id = &cluster.nodes[second].id;
    browser.wait("the new node", GENEROUS, &format!("document.getElementById('node').textContent === '{id}'"))?;
    untouched(&browser)?;

    // Only the attempts to reach the node while it was away may have failed.
    let said = browser.console()?;
    let other: Vec<_> = said.iter().filter(|line| !line.contains(&address) || !line.contains("net::ERR_")).collect();
    assert!(other.is_empty(), "the console says more: {other:#?}");
    Ok(())
}

#[test]
fn without_a_majority_the_page_raises_the_alarm_and_ends_it_when_the_voters_are_back() -> Tested {
    let Some(browser) = Browser::start("page-alarm")? else { return Ok(()) };
    let mut cluster = DemoCluster::empty("page-alarm", &[])?;
    cluster.set_durable();
    cluster.fill(3)?;
    browser.open(&page(&mut cluster, 0)?)?;
    browser.run(MARK)?;
    browser.wait("the page to be live", GENEROUS, LIVE)?;
    browser.wait("a verdict", GENEROUS, &says("verdict", "Healthy. 3 nodes, 10,000 of 10,000 shards served"))?;
    browser.wait("calm", GENEROUS, "document.getElementById('alarm').hidden")?;

    for node in [1, 2] {
        cluster.nodes[node].process.signal(Signal::KILL);
    }
    browser.wait(
        "the alarm",
        GENEROUS,
        &says("alarm", "NO MAJORITY: 1 of 3 voters answers; no shard is served, for "),
    )?;
    browser.wait("the verdict", GENEROUS, &says("verdict", "0 of 10,000 shards served"))?;
    browser.wait("the tab's title", GENEROUS, "document.title.startsWith('✕ No majority')")?;
    browser.wait("a red icon", GENEROUS, "document.querySelector('link[rel=icon]').href.includes('b8271b')")?;
    browser.wait("hatching", GENEROUS, "document.getElementById('map').classList.contains('nobody')")?;
    let green = browser.run("return document.getElementById('connection').innerText")?;
    assert_eq!(green.as_str().map(str::trim), Some("Outage"), "nothing says that all is well");

    for node in [1, 2] {
        cluster.nodes[node].process.wait(GENEROUS)?;
        cluster.start_again(node)?;
    }
    browser.wait("the end of the alarm", GENEROUS, "document.getElementById('alarm').hidden")?;
    browser.wait("health", GENEROUS, &says("verdict", "Healthy. 3 nodes, 10,000 of 10,000 shards served"))?;
    untouched(&browser)
}

#[test]
fn the_page_goes_on_from_another_member_when_its_node_is_gone() -> Tested {
    let Some(browser) = Browser::start("page-moves")? else { return Ok(()) };
    let mut cluster = DemoCluster::start("page-moves", 3)?;
    let left = page(&mut cluster, 1)?;
    let others = [page(&mut cluster, 0)?, page(&mut cluster, 2)?];
    browser.open(&left)?;
    browser.wait("the page to be live", GENEROUS, LIVE)?;
    browser.wait("three shares", GENEROUS, &row("n2", "row.dataset.shards > 3000"))?;
    // The others answered this browser once, so it knows where to go.
    let knocks = "performance.getEntriesByType('resource').filter(it => it.name.endsWith('/healthz')).length === 2";
    browser.wait("knocks at the others", GENEROUS, knocks)?;

    cluster.nodes[1].process.signal(Signal::KILL);
    let elsewhere = format!("!location.href.startsWith('{left}')");
    browser.wait("another page", GENEROUS, &elsewhere)?;
    browser.wait("the page to be live", GENEROUS, LIVE)?;
    browser.wait("the reason", GENEROUS, &says("moved", "n1 is gone; shown by n"))?;
    browser.wait("what happened", GENEROUS, &told("n1 was lost"))?;
    let here = browser.run("return location.href")?;
    assert!(others.iter().any(|other| here == other.as_str()), "{here} is another member's page");
    Ok(())
}

#[test]
fn an_observers_page_says_that_it_observes() -> Tested {
    let Some(browser) = Browser::start("page-observes")? else { return Ok(()) };
    let mut cluster = DemoCluster::start("page-observes", 1)?;
    cluster.set_extra(&["--non-member"]);
    let observer = cluster.join()?;
    browser.open(&page(&mut cluster, observer)?)?;
    browser.wait("the page to be live", GENEROUS, LIVE)?;
    browser.wait("the verdict", GENEROUS, &says("verdict", "Observed. 1 node up, as gossip tells."))?;
    browser.wait("the member", GENEROUS, &row("n0", "/Node\\s*Alive/.test(row.innerText)"))?;
    browser.wait("itself", GENEROUS, &row("n1", "row.innerText.includes('Observer')"))?;
    Ok(())
}

/// What is said of a cluster, and how events become a story, is tested without a browser.
#[test]
fn the_pages_pure_parts_pass_their_own_tests() -> Tested {
    let tests = workspace().join("funk-rpc/src/console/page/tests.mjs");
    let Ok(output) = Command::new("node").arg("--test").arg(tests).output() else {
        println!("SKIPPED the_pages_pure_parts_pass_their_own_tests: Node.js is missing");
        return Ok(());
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

/// Every name of a control that a reader may use, empty where it has none.
const CONTROLS: &str = "return [...document.querySelectorAll('button, a[href], [role=region]')]
    .map(it => it.ariaLabel || it.textContent.trim())";

/// The lowest contrast of any text with what is behind it.
const CONTRAST: &str = r"
    const channel = value => { value /= 255; return value <= .03928 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4; };
    const numbers = text => (text.match(/[\d.]+/g) ?? []).map(Number);
    const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
    const behind = element => {
      for (let at = element; at; at = at.parentElement) {
        const colour = numbers(getComputedStyle(at).backgroundColor);
        if (colour.length === 3) return colour;
      }
      return numbers(getComputedStyle(document.documentElement).backgroundColor);
    };
    let worst = [99, ''];
    for (const element of document.querySelectorAll('body *')) {
      const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
      if (!own || !element.checkVisibility() || element.closest('.skip')) continue;
      const [a, b] = [light(numbers(getComputedStyle(element).color)), light(behind(element))];
      const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
      if (ratio < worst[0]) worst = [ratio, element.outerHTML.slice(0, 120)];
    }
    return worst";

#[test]
fn the_page_needs_nothing_from_elsewhere_and_everybody_can_read_it() -> Tested {
    let Some(browser) = Browser::start("page-readable")? else { return Ok(()) };
    let mut cluster = DemoCluster::start("page-readable", 2)?;
    let url = page(&mut cluster, 0)?;
    browser.open(&url)?;
    browser.wait("the page to be live", GENEROUS, LIVE)?;
    browser.wait("two shares", GENEROUS, &row("n1", "row.dataset.shards > 4000"))?;

    let loaded = browser.run("return performance.getEntriesByType('resource').map(entry => entry.name)")?;
    let loaded: Vec<_> = loaded.as_array().ok_or("a list")?.iter().filter_map(|name| name.as_str()).collect();
    assert!(loaded.iter().any(|name| name.ends_with("/page/app.js")), "{loaded:?}");
    // Other members' pages are knocked at, for the day that this node is gone.
    let other = format!("http://{}/healthz", cluster.page(1)?);
    let foreign: Vec<_> = loaded.iter().filter(|name| !name.starts_with(&url) && **name != other).collect();
    assert!(foreign.is_empty(), "all comes from the node: {foreign:?}");

    assert_eq!(browser.run("return document.documentElement.lang")?, "en");
    assert_eq!(browser.run("return document.querySelectorAll('h1').length")?, 1);
    for landmark in ["header", "main", "footer", "nav[aria-label]", "[role=log]", "[role=status]"] {
        let there = format!("return document.querySelectorAll('{landmark}').length > 0");
        assert_eq!(browser.run(&there)?, true, "{landmark} is there");
    }
    let names = browser.run(CONTROLS)?;
    let names = names.as_array().ok_or("a list")?;
    assert!(names.len() > 5 && names.iter().all(|name| name != ""), "every control has a name: {names:?}");

    for scheme in ["light", "dark"] {
        browser.prefer(scheme)?;
        for (width, height) in [(1440, 900), (390, 844)] {
            browser.resize(width, height)?;
            let wide =
                browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")?;
            assert_eq!(wide, 0, "{width} pixels hold the page without scrolling to the side");
        }
        let worst = browser.run(CONTRAST)?;
        assert!(worst[0].as_f64() >= Some(4.5), "in {scheme}, text is hard to read: {worst}");
    }
    let background = "getComputedStyle(document.documentElement).backgroundColor";
    let dark = browser.run(&format!("return {background}"))?;
    let light = browser.run(&format!("document.getElementById('theme').click(); return {background}"))?;
    assert_ne!(dark, light, "the button changes the colours");

    let said = browser.console()?;
    assert!(said.is_empty(), "the console is silent: {said:#?}");
    Ok(())
}

/// The kinds of events, as they are fixed for every reader.
const KINDS: [&str; 8] = ["leader", "map", "member_failed", "member_joined", "member_left", "moving", "owned", "state"];

#[test]
fn the_event_stream_tells_every_kind_of_event_and_ends_with_its_node() -> Tested {
    let mut cluster = DemoCluster::start("events", 3)?;
    let mut stream = TcpStream::connect(cluster.page(0)?)?;
    stream.set_read_timeout(Some(GENEROUS))?;
    write!(stream, "GET /api/v1/events?since= HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    let mut lines = BufReader::new(stream).lines();
    // Chunk sizes and blank lines stand between the lines of the stream.
    let mut next = |prefix: &str| loop {
        match lines.next() {
            Some(Ok(line)) if line.starts_with(prefix) => return Some(line),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return None,
        }
    };
    let kind = next("content-type: ").or_else(|| next("Content-Type: "));
    assert_eq!(kind.as_deref(), Some("content-type: text/event-stream"));

    cluster.nodes[1].process.signal(Signal::TERM);
    cluster.nodes[1].process.wait(GENEROUS)?;
    cluster.converged(GENEROUS)?;
    let joined = cluster.join()?;
    cluster.converged(GENEROUS)?;
    cluster.all_voters(GENEROUS)?;
    cluster.nodes[joined].process.signal(Signal::KILL);
    let mut kinds = BTreeSet::new();
    let until = Instant::now() + GENEROUS;
    while kinds.len() < KINDS.len() {
        if Instant::now() > until {
            return Err(format!("no more kinds of events than {kinds:?}").into());
        }
        let line = next("").ok_or_else(|| format!("the stream ended after {kinds:?}"))?;
        // Any line, so that a stream with nothing but signs of life comes to the deadline.
        let Some(event) = line.strip_prefix("data: ") else { continue };
        let event: Value = serde_json::from_str(event)?;
        assert!(event["at_ns"].as_u64() > Some(1_500_000_000_000_000_000), "Unix nanoseconds: {event}");
        kinds.insert(event["kind"].as_str().ok_or("an event has a kind")?.to_owned());
    }
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), KINDS);

    cluster.nodes[0].process.signal(Signal::TERM);
    while next("data: ").is_some() {}
    cluster.nodes[0].process.wait(GENEROUS)?;
    Ok(())
}
