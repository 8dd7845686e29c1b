//! A run as a picture: one page that loads nothing, small enough to be sent, and says what happened.

use funk_sim::picture::{Page, Show, Verdict};
use funk_sim::run::run_with_picture;
use funk_sim::{Outcome, Plan, run};

/// Bytes of one page of a minute of seven nodes.
const PAGE_BYTES_MAX: usize = 3_000_000;

fn page(plan: &Plan, outcome: &Outcome) -> String {
    let verdict = Verdict { holds: true, words: "All properties hold.".into(), broken: Some((7, Some(1))) };
    let (picture, story) = (outcome.picture.as_ref().expect("a picture"), outcome.story.as_ref().expect("a story"));
    let page = Page { title: "Seed <7>", verdict: &verdict, command: "sim", plan: &plan.to_string(), picture, story };
    page.html()
}

/// The first seed whose plan has seven nodes.
fn seven_nodes() -> Plan {
    (0..).map(Plan::draw).find(|plan| plan.nodes == 7).expect("one in five has")
}

#[test]
fn a_minute_of_seven_nodes_is_one_small_page_that_loads_nothing() {
    let plan = seven_nodes();
    let outcome = run_with_picture(&plan);
    let html = page(&plan, &outcome);
    assert!(html.len() < PAGE_BYTES_MAX, "{} bytes", html.len());
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!html.contains(outside), "the page loads something: {outside}");
    }
    assert!(html.contains("Seed ?7?") && html.contains("\"broken\":[7,1]"));
    let data = html.split_once("id=\"data\">").and_then(|(_, rest)| rest.split_once("</script>")).expect("its data").0;
    let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
    assert!(data["story"].as_array().is_some_and(|lines| lines.len() > 100));
}

#[test]
fn a_picture_changes_nothing_and_shows_who_served_and_what_went_wrong() {
    let plan = Plan::draw(17);
    let outcome = run_with_picture(&plan);
    assert_eq!(outcome.hash, run(&plan, false).hash);
    let picture = outcome.picture.expect("a picture");
    let served = |lane: &funk_sim::picture::Lane| lane.spans.iter().any(|span| matches!(span.show, Show::Serves(_)));
    assert!(picture.lanes().iter().filter(|lane| served(lane)).count() >= 3);
    assert_eq!(picture.troubles().len() as u64, outcome.tally.faults.values().sum::<u64>());
    assert!(picture.lanes().iter().all(|lane| lane.spans.windows(2).all(|pair| pair[0].to == pair[1].from)));
    assert!(!picture.moves().is_empty());
}
