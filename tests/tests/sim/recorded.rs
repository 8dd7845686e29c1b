//! What went into simulated nodes, recorded as real nodes record it, gives the same again.

use bytes::Bytes;
use funk_proto::{DatagramSocket, Input, Timestamp};
use funk_record::{Dump, Entry, Payloads, Recorder, Recording, Replay, Unplayable, Unreadable};
use funk_sim::run::run_recorded;
use funk_sim::{Plan, run};

/// A stormy plan that ends early.
fn plan(seed: u64, change: impl FnOnce(&mut Plan)) -> Plan {
    let mut plan = Plan::draw(seed);
    (plan.heal_at, plan.end_at) = (12_000, 20_000);
    plan.faults.retain(|fault| fault.at < 12_000);
    change(&mut plan);
    plan
}

fn recordings(plan: &Plan) -> Vec<Dump> {
    let outcome = run_recorded(plan);
    assert_eq!(outcome.hash, run(plan, false).hash, "a recorder changes nothing");
    outcome.recordings.into_iter().map(|(_, dump)| dump).collect()
}

fn read(dump: &Dump, payloads: Payloads) -> Recording {
    let recording = Recording::read(&dump.to_bytes("asked", 0, payloads)).expect("its head is sound");
    assert_eq!(recording.damages, []);
    recording
}

/// Inputs and checks of a replay in which all is the same.
fn replayed(recording: &Recording) -> (u64, u64) {
    let (mut replay, _) = Replay::begin(recording).expect("it begins with the process");
    while replay.step().unwrap_or_else(|difference| panic!("{}: {difference}", recording.head.config.name)).is_some() {}
    (replay.inputs(), replay.checks())
}

#[test]
fn every_process_of_a_run_gives_the_same_again_with_and_without_payloads() {
    let (mut inputs, mut checks, mut processes) = (0, 0, 0);
    for (seed, durable) in [(3, true), (17, true), (11, false)] {
        let plan = plan(seed, |plan| (plan.durable, plan.states) = (durable, true));
        for dump in recordings(&plan) {
            for payloads in [Payloads::Kept, Payloads::Hashed] {
                let (handed, compared) = replayed(&read(&dump, payloads));
                (inputs, checks, processes) = (inputs + handed, checks + compared, processes + 1);
            }
        }
    }
    assert!(
        inputs > 50_000 && checks > 40 && processes > 20,
        "{inputs} inputs, {checks} checks, {processes} processes"
    );
}

/// The recording of a node that has just begun.
fn short() -> Bytes {
    let mut plan = Plan::quiet(1, 3);
    (plan.heal_at, plan.end_at) = (400, 500);
    let dump = recordings(&plan).swap_remove(0);
    dump.to_bytes("asked", 0, Payloads::Hashed)
}

#[test]
fn any_flipped_bit_is_found_and_located() {
    let whole = short();
    assert!(whole.len() > 1_000 && Recording::read(&whole).is_ok_and(|recording| recording.damages.is_empty()));
    for at in 0..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << (at % 8);
        match Recording::read(&bytes.into()) {
            Err(Unreadable::NotARecording) => assert!(at < 8, "byte {at}"),
            Err(Unreadable::Head { bytes }) => assert!(bytes.contains(&at), "byte {at} is not in {bytes:?}"),
            Err(error) => panic!("byte {at}: {error}"),
            Ok(recording) => {
                let damage = recording.damages.first().unwrap_or_else(|| panic!("byte {at}: nothing was found"));
                assert!(damage.bytes.contains(&at), "byte {at}: {damage}");
                assert!(recording.sound().iter().all(|record| record.offset <= at), "byte {at}");
            }
        }
    }
}

#[test]
fn a_file_that_is_cut_anywhere_is_found_to_be() {
    let whole = short();
    for end in (0..whole.len()).step_by(7) {
        let read = Recording::read(&whole.slice(..end));
        assert!(read.is_err() || read.is_ok_and(|recording| !recording.damages.is_empty()), "cut at {end}");
    }
}

#[test]
fn an_input_that_is_another_one_makes_a_difference_that_is_located() {
    let mut plan = Plan::quiet(1, 3);
    (plan.heal_at, plan.end_at) = (3_000, 3_500);
    let mut recording = read(&recordings(&plan).swap_remove(0), Payloads::Hashed);
    let beats = |entry: &Entry| matches!(entry, Entry::Input(Input::Datagram { socket, .. }) if *socket == DatagramSocket::Liveness);
    let late =
        recording.records.iter().position(|record| record.at > Timestamp::from_millis(2_500) && beats(&record.entry));
    let changed = late.expect("peers beat");
    let number = recording.records[changed].number;
    recording.records[changed].entry = Entry::Input(Input::Timeout);
    let (mut replay, _) = Replay::begin(&recording).expect("it begins with the process");
    let difference = loop {
        match replay.step() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a heartbeat was left out and nothing differs"),
            Err(difference) => break difference,
        }
    };
    assert!(difference.record > number && difference.record < number + 50, "{number} was changed: {difference}");
}

#[test]
fn another_version_is_named() {
    let mut bytes = short().to_vec();
    let end = 16 + u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes")) as usize;
    bytes[8] = 9;
    let crc = crc32fast::hash(&bytes[..end]);
    bytes[end..end + 4].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(Recording::read(&bytes.into()).err(), Some(Unreadable::Version { format: 9 }));
}

#[test]
fn a_full_recorder_forgets_the_beginning_and_says_so() {
    let mut plan = Plan::quiet(1, 3);
    (plan.heal_at, plan.end_at) = (400, 500);
    let recording = read(&recordings(&plan).swap_remove(0), Payloads::Kept);
    let (replay, _) = Replay::begin(&recording).expect("it begins with the process");
    let (config, limit) = (recording.head.config.clone(), 1 << 20);
    let seed = funk_proto::Seed::from_u64(1);
    let mut recorder = Recorder::new(&config, &Default::default(), seed, Timestamp::ZERO, 0, limit);
    let datagram = |n: u64| Input::Datagram {
        socket: DatagramSocket::Liveness,
        from: config.serf,
        bytes: Bytes::from(vec![n.to_le_bytes()[0]; 200]),
    };
    for n in 0..20_000 {
        recorder.input(Timestamp::from_millis(n), replay.node(), &datagram(n));
        assert!(recorder.bytes() <= limit);
    }
    assert!(!recorder.is_whole() && recorder.bytes() > limit / 2);
    let recording = read(&recorder.dump(), Payloads::Hashed);
    let first = recording.records.first().expect("the end is kept");
    assert!(first.number > 10_000);
    assert_eq!(recording.sound().len(), recording.records.len());
    let last = recording.records.last().expect("the end is kept");
    assert_eq!((last.at, &last.entry), (Timestamp::from_millis(19_999), &Entry::Input(datagram(19_999))));
    assert!(
        matches!(Replay::begin(&recording), Err(Unplayable::BeginsInTheMiddle { first: number, .. }) if number == first.number)
    );
}
