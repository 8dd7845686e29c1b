//! The scenarios that find planted bugs find none where none is planted.

use funk_tests::mutants::SCENARIOS;

#[test]
fn the_quick_scenarios_find_nothing_without_a_planted_bug() {
    for (name, play) in SCENARIOS {
        assert_eq!(play(), None, "{name}");
    }
}
