//! Makes a failing plan smaller: fewer faults, fewer nodes, a shorter run,
//! as long as the same property is broken.

use crate::plan::Plan;
use crate::run::run;

/// Runs at most so many plans.
const RUNS_MAX: usize = 200;

/// The smallest plan found that breaks `property`, and how many were run.
pub fn shrink(plan: &Plan, property: &str) -> (Plan, usize) {
    let mut search = Search { property, runs: 0 };
    let mut best = search.shorter(plan.clone());
    loop {
        let size = best.size();
        best = search.fewer_faults(best);
        best = search.fewer_nodes(best);
        best = search.shorter(best);
        if best.size() == size || search.runs >= RUNS_MAX {
            return (best, search.runs);
        }
    }
}

struct Search<'a> {
    property: &'a str,
    runs: usize,
}

impl Search<'_> {
    fn breaks(&mut self, plan: &Plan) -> bool {
        if self.runs >= RUNS_MAX {
            return false;
        }
        self.runs += 1;
        run(plan, false).violation.is_some_and(|violation| violation.property == self.property)
    }

    /// Halves, then quarters, then single faults are left out.
    fn fewer_faults(&mut self, mut plan: Plan) -> Plan {
        let mut chunk = plan.faults.len().div_ceil(2).max(1);
        loop {
            let mut from = 0;
            while from < plan.faults.len() {
                let mut smaller = plan.clone();
                smaller.faults.drain(from..(from + chunk).min(plan.faults.len()));
                if self.breaks(&smaller) {
                    plan = smaller;
                } else {
                    from += chunk;
                }
            }
            if chunk == 1 {
                return plan;
            }
            chunk = chunk.div_ceil(2);
        }
    }

    fn fewer_nodes(&mut self, mut plan: Plan) -> Plan {
        while plan.nodes > 2 {
            let smaller = Plan { nodes: plan.nodes - 1, ..plan.clone() };
            if !self.breaks(&smaller) {
                break;
            }
            plan = smaller;
        }
        plan
    }

    /// Nothing after the violation matters; before it, the healing may come sooner.
    fn shorter(&mut self, plan: Plan) -> Plan {
        let Some(violation) = run(&plan, false).violation else { return plan };
        let at = violation.at.as_nanos() / 1_000_000 + 1;
        let mut shorter = plan.clone();
        shorter.end_at = at.min(plan.end_at);
        shorter.faults.retain(|fault| fault.at < at);
        if self.breaks(&shorter) { shorter } else { plan }
    }
}
