//! The pages show the examples that run.

use funk_tests::blackbox::workspace;
use funk_tests::pages::{blocks, read};

#[test]
fn the_pages_show_the_service_that_runs_and_it_has_less_than_15_lines() {
    let source = read(&workspace().join("examples/greeter/src/bin/sharded.rs"));
    let shown = &source[source.find("#[tokio::main]").expect("it runs on tokio")..];
    assert!(shown.lines().count() < 15, "{shown}");
    for page in ["README.md", "docs/server.md"] {
        let there = blocks(page).into_iter().any(|block| block.language == "rust,ignore" && block.text == shown);
        assert!(there, "{page} does not show examples/greeter/src/bin/sharded.rs:\n{shown}");
    }
}

#[test]
fn the_page_on_clients_shows_the_client_that_runs() {
    let source = read(&workspace().join("examples/greeter/src/bin/greet.rs"));
    let start = source.find("    let seeds").expect("it says where to look");
    let end = source.find("    for name").expect("it asks for each name");
    let shown: String = source[start..end].lines().map(|line| format!("{}\n", &line[4..])).collect();
    let there = blocks("docs/client.md").into_iter().any(|block| block.text == shown);
    assert!(there, "docs/client.md does not show examples/greeter/src/bin/greet.rs:\n{shown}");
}
