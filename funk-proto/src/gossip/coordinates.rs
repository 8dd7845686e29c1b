//! Network coordinates after Vivaldi (Dabek et al., 2004), as Serf agents keep
//! them: each ack brings the other's coordinate and a round trip, and draws
//! this node's own a little nearer to where the distance is right. The unit is
//! the second.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::rng::Rng;
use crate::wire::gossip::{COORDINATE_DIMENSIONS, Coordinate};

/// How fast the error estimate moves.
const ERROR_GAIN: f64 = 0.25;
/// How fast the coordinate moves.
const FORCE_GAIN: f64 = 0.25;
/// The error of a node that knows nothing.
const ERROR_MAX: f64 = 1.5;
/// Nobody is nearer to the network than this.
const HEIGHT_MIN: f64 = 1e-5;
/// Below this nothing is measured.
const ZERO: f64 = 1e-6;
/// Round trips that the adjustment averages over.
const ADJUSTMENTS: usize = 20;
/// Round trips with one node of which the middle one counts.
const SAMPLES: usize = 3;
/// How far from the origin the pull towards it is strong.
const GRAVITY: f64 = 150.0;
/// Longer round trips are no measurement.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);

type Point = [f64; COORDINATE_DIMENSIONS];

/// This node's coordinate, and what it is made from.
#[derive(Debug)]
pub(super) struct Coordinates {
    own: Coordinate,
    adjustments: [f64; ADJUSTMENTS],
    next_adjustment: usize,
    samples: BTreeMap<Bytes, Vec<f64>>,
}

impl Coordinates {
    pub(super) fn new() -> Self {
        let own = Coordinate::default();
        Self { own, adjustments: [0.0; ADJUSTMENTS], next_adjustment: 0, samples: BTreeMap::new() }
    }

    pub(super) fn own(&self) -> &Coordinate {
        &self.own
    }

    /// Round trips are kept for these names only.
    pub(super) fn retain(&mut self, known: impl Fn(&Bytes) -> bool) {
        self.samples.retain(|name, _| known(name));
    }

    /// A member is gone: its round trips say nothing of whoever comes next.
    pub(super) fn forget(&mut self, name: &Bytes) {
        self.samples.remove(name);
    }

    /// Learns from a round trip to a node that sent its coordinate. False if
    /// it is none to learn from.
    pub(super) fn update(&mut self, rng: &mut Rng, name: &Bytes, other: &Coordinate, round_trip: Duration) -> bool {
        if round_trip > ROUND_TRIP_MAX || !is_valid(other) {
            return false;
        }
        let round_trip = self.filtered(name, round_trip.as_secs_f64());
        self.step(rng, other, round_trip);
        self.adjust(other, round_trip);
        self.gravitate(rng);
        if !is_valid(&self.own) {
            self.own = Coordinate::default();
            self.adjustments = [0.0; ADJUSTMENTS];
        }
        true
    }

    /// The middle one of the last few: single slow answers move nothing.
    fn filtered(&mut self, name: &Bytes, round_trip: f64) -> f64 {
        let samples = self.samples.entry(name.clone()).or_default();
        if samples.len() == SAMPLES {
            samples.remove(0);
        }
        samples.push(round_trip);
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    fn step(&mut self, rng: &mut Rng, other: &Coordinate, round_trip: f64) {
        let round_trip = round_trip.max(ZERO);
        let distance = distance(&self.own, other);
        let wrongness = (distance - round_trip).abs() / round_trip;
        let weight = self.own.error / (self.own.error + other.error).max(ZERO);
        let error = ERROR_GAIN * weight * wrongness + self.own.error * (1.0 - ERROR_GAIN * weight);
        self.own.error = error.min(ERROR_MAX);
        self.push(rng, FORCE_GAIN * weight * (round_trip - distance), other);
    }

    /// Moves away from `other`, or towards it if the force is negative.
    fn push(&mut self, rng: &mut Rng, force: f64, other: &Coordinate) {
        let (unit, apart) = direction(rng, &self.own.vec, &other.vec);
        for (own, unit) in self.own.vec.iter_mut().zip(unit) {
            *own += unit * force;
        }
        if apart > ZERO {
            let height = (self.own.height + other.height) * force / apart + self.own.height;
            self.own.height = height.max(HEIGHT_MIN);
        }
    }

    fn adjust(&mut self, other: &Coordinate, round_trip: f64) {
        self.adjustments[self.next_adjustment] = round_trip - raw_distance(&self.own, other);
        self.next_adjustment = (self.next_adjustment + 1) % ADJUSTMENTS;
        let sum: f64 = self.adjustments.iter().sum();
        #[allow(clippy::cast_precision_loss, reason = "a small constant")]
        let count = ADJUSTMENTS as f64;
        self.own.adjustment = sum / (2.0 * count);
    }

    /// All nodes together would drift away; a weak pull keeps them near the origin.
    fn gravitate(&mut self, rng: &mut Rng) {
        let origin = Coordinate::default();
        let pull = -(distance(&origin, &self.own) / GRAVITY).powi(2);
        self.push(rng, pull, &origin);
    }
}

fn is_valid(coordinate: &Coordinate) -> bool {
    let numbers = [coordinate.error, coordinate.height, coordinate.adjustment];
    coordinate.vec.iter().chain(&numbers).all(|number| number.is_finite())
}

fn length(point: &Point) -> f64 {
    point.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn difference(a: &Point, b: &Point) -> Point {
    std::array::from_fn(|at| a[at] - b[at])
}

/// The direction from `b` to `a`, any if they are one, and how far they are apart.
fn direction(rng: &mut Rng, a: &Point, b: &Point) -> (Point, f64) {
    let apart = difference(a, b);
    let far = length(&apart);
    if far > ZERO {
        return (apart.map(|x| x / far), far);
    }
    #[allow(clippy::cast_precision_loss, reason = "a random direction needs no exact numbers")]
    let random: Point = std::array::from_fn(|_| rng.below(2_000_001) as f64 / 1_000_000.0 - 1.0);
    let long = length(&random);
    let mut first = [0.0; COORDINATE_DIMENSIONS];
    first[0] = 1.0;
    (if long > ZERO { random.map(|x| x / long) } else { first }, 0.0)
}

fn raw_distance(a: &Coordinate, b: &Coordinate) -> f64 {
    length(&difference(&a.vec, &b.vec)) + a.height + b.height
}

/// The estimate of the round trip between two, seconds.
fn distance(a: &Coordinate, b: &Coordinate) -> f64 {
    let raw = raw_distance(a, b);
    let adjusted = raw + a.adjustment + b.adjustment;
    if adjusted > 0.0 { adjusted } else { raw }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Seed, Stream};

    #[test]
    fn coordinates_learn_the_round_trips() {
        let mut rng = Rng::new(Seed::from_u64(1), Stream::Gossip);
        let mut nodes = [Coordinates::new(), Coordinates::new(), Coordinates::new()];
        let names = ["a", "b", "c"].map(|name| Bytes::from_static(name.as_bytes()));
        // Milliseconds between a and b, b and c, a and c.
        let trips = [(0, 1, 10), (1, 2, 20), (0, 2, 25)];
        for _ in 0..500 {
            for (one, other, millis) in trips {
                for (one, other) in [(one, other), (other, one)] {
                    let seen = *nodes[other].own();
                    assert!(nodes[one].update(&mut rng, &names[other], &seen, Duration::from_millis(millis)));
                }
            }
        }
        for (one, other, millis) in trips {
            let estimate = distance(nodes[one].own(), nodes[other].own()) * 1_000.0;
            #[allow(clippy::cast_precision_loss, reason = "small")]
            let wanted = millis as f64;
            assert!((estimate - wanted).abs() < wanted * 0.1, "{estimate} ms instead of {millis}");
        }
    }

    #[test]
    fn nonsense_moves_nothing() {
        let mut rng = Rng::new(Seed::from_u64(1), Stream::Gossip);
        let mut node = Coordinates::new();
        let name = Bytes::from_static(b"a");
        let bad = Coordinate { error: f64::NAN, ..Coordinate::default() };
        assert!(!node.update(&mut rng, &name, &bad, Duration::from_millis(1)));
        assert!(!node.update(&mut rng, &name, &Coordinate::default(), Duration::from_secs(11)));
        assert_eq!(*node.own(), Coordinate::default());
        // What drives a coordinate out of all numbers begins anew.
        let far = Coordinate { vec: [f64::MAX; COORDINATE_DIMENSIONS], ..Coordinate::default() };
        node.update(&mut rng, &name, &far, Duration::from_millis(1));
        assert!(is_valid(node.own()));
    }
}
