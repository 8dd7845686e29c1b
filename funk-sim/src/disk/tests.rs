use super::*;
use funk_proto::Seed;
use funk_proto::rng::Stream;

fn rng(seed: u64) -> Rng {
    Rng::new(Seed::from_u64(seed), Stream::Peers)
}

fn record(n: u64, bytes: usize) -> Bytes {
    vec![n.to_le_bytes()[0]; bytes].into()
}

fn persist(disk: &mut Disk, n: u64, bytes: usize, rng: &mut Rng) -> Option<Timestamp> {
    let record = record(n, bytes);
    disk.write(Timestamp::ZERO, Persist { token: Token(n), record, replaces: false }, rng)
}

fn write(disk: &mut Disk, n: u64, rng: &mut Rng) -> Option<Timestamp> {
    persist(disk, n, 1, rng)
}

fn flush(disk: &mut Disk, rng: &mut Rng) -> Option<Flush> {
    let now = disk.ends;
    disk.flushed(now, rng)
}

/// `stable` batches of one record each, then one of three records that a crash tears.
fn torn(seed: u64, stable: u64, bytes: usize) -> (Disk, Vec<Bytes>) {
    let mut rng = rng(seed);
    let mut disk = Disk::new(true);
    for n in 1..=stable {
        persist(&mut disk, n, bytes, &mut rng);
        flush(&mut disk, &mut rng);
    }
    for n in 1..=3 {
        persist(&mut disk, stable + n, bytes, &mut rng);
    }
    disk.flushing = 3;
    let told = disk.stable().to_vec();
    disk.crash(&mut rng);
    (disk, told)
}

#[test]
fn a_flush_covers_what_was_written_before_it_began() {
    let mut rng = rng(1);
    let mut disk = Disk::new(true);
    assert!(write(&mut disk, 1, &mut rng).is_some());
    assert_eq!(write(&mut disk, 2, &mut rng), None);
    assert_eq!(write(&mut disk, 3, &mut rng), None);
    let first = disk.flushed(Timestamp::from_millis(1), &mut rng).unwrap();
    assert!(matches!(first, Flush::Stable(Token(1), Some(_))), "{first:?}");
    let second = disk.flushed(Timestamp::from_millis(2), &mut rng).unwrap();
    assert_eq!((second, disk.stable().len()), (Flush::Stable(Token(3), None), 3));
}

#[test]
fn a_crash_loses_any_part_of_what_was_not_stable_and_nothing_else() {
    let mut left = std::collections::BTreeSet::new();
    for seed in 0..300 {
        let (mut disk, told) = torn(seed, 2, 700);
        let found = disk.open().expect("nothing that was stable is damaged");
        assert_eq!(found[..2], told);
        left.insert(found.len());
        assert_eq!(disk.open().expect("it was tidied"), found);
    }
    assert_eq!(left, [2, 3, 4, 5].into());
}

#[test]
fn the_first_write_of_all_may_be_torn_too() {
    for seed in 0..100 {
        let (mut disk, _) = torn(seed, 0, 700);
        assert!(disk.open().expect("nothing was stable").len() <= 3);
        let mut rng = rng(seed);
        write(&mut disk, 9, &mut rng);
        flush(&mut disk, &mut rng);
        assert_eq!(disk.open().unwrap().last(), Some(&record(9, 1)), "it is written on");
    }
}

#[test]
fn a_write_that_replaces_is_there_or_what_it_replaces() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let (mut disk, _) = torn(seed, 3, 50);
        let before = disk.open().unwrap();
        let mut rng = rng(seed);
        let snapshot = Persist { token: Token(9), record: record(9, 2_000), replaces: true };
        disk.write(Timestamp::ZERO, snapshot, &mut rng);
        disk.crash(&mut rng);
        let found = disk.open().unwrap();
        assert!(found == before || found == [record(9, 2_000)], "{} records", found.len());
        seen.insert(found.len());
    }
    assert!(seen.len() > 1, "both were seen");
}

#[test]
fn a_flipped_bit_is_refused_by_its_file_and_offset_or_touches_no_record() {
    let mut refused = 0;
    for seed in 0..400 {
        let mut rng = rng(seed);
        let mut disk = Disk::new(true);
        for n in 1..=6 {
            persist(&mut disk, n, 1 + usize::try_from(n).unwrap() * 9, &mut rng);
            flush(&mut disk, &mut rng);
        }
        let told = disk.stable().to_vec();
        let (file, at) = disk.rot(&mut rng).expect("there is enough");
        match disk.open() {
            Ok(found) => assert_eq!(found, told, "bit at {at}"),
            Err(bad) => {
                refused += 1;
                assert_eq!(bad.file, file);
            }
        }
    }
    assert!(refused > 300, "{refused}");
}

#[test]
fn the_last_batch_does_not_rot() {
    for seed in 0..50 {
        let mut rng = rng(seed);
        let mut disk = Disk::new(true);
        assert_eq!(disk.rot(&mut rng), None, "there is nothing");
        write(&mut disk, 1, &mut rng);
        flush(&mut disk, &mut rng);
        let (_, at) = disk.rot(&mut rng).expect("the file's header");
        assert!(at < funk_proto::wire::journal::HEADER_BYTES);
    }
}

#[test]
fn a_full_disk_fails_and_keeps_what_was_stable() {
    let mut rng = rng(1);
    let mut disk = Disk::new(true);
    write(&mut disk, 1, &mut rng);
    flush(&mut disk, &mut rng);
    disk.conditions.full = true;
    write(&mut disk, 2, &mut rng);
    assert_eq!(flush(&mut disk, &mut rng), Some(Flush::Failed));
    disk.crash(&mut rng);
    assert_eq!(disk.open().unwrap()[..1], [record(1, 1)]);
}

#[test]
fn a_healed_disk_ends_its_slow_flush_at_once() {
    let mut rng = rng(1);
    let mut disk = Disk::new(true);
    let (flush_min, flush_max) = (Duration::from_secs(2), Duration::from_secs(4));
    disk.conditions = DiskConditions { flush_min, flush_max, full: false };
    write(&mut disk, 1, &mut rng);
    let soon = Timestamp::from_millis(1);
    assert_eq!(disk.flushed(soon, &mut rng), None);
    assert!(disk.heal(soon));
    assert_eq!(disk.flushed(soon, &mut rng), Some(Flush::Stable(Token(1), None)));
}
