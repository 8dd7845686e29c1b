use super::*;

/// The files of a node that wrote batches of so many records, the records
/// numbered by their sequence, with a snapshot after `snapshot` records.
fn image(batches: &[u64], snapshot: Option<u64>) -> (BTreeMap<String, Vec<u8>>, u64) {
    let mut files = BTreeMap::new();
    let (mut next, mut log) = (1, 1);
    for &count in batches {
        if snapshot == Some(next) {
            files.clear();
            files.insert(snapshot_name(next), single(FileKind::Snapshot, next, &payload(next)));
            next += 1;
            log = next;
        }
        let file = files.entry(log_name(log)).or_insert_with(|| header(FileKind::Log, log).to_vec());
        let batch = next;
        for _ in 0..count {
            put_record(file, next, batch, &payload(next));
            next += 1;
        }
    }
    (files, next)
}

fn payload(sequence: u64) -> Vec<u8> {
    vec![u8::try_from(sequence).unwrap(); usize::try_from(sequence * 7 % 40 + 1).unwrap()]
}

fn opened(files: &BTreeMap<String, Vec<u8>>) -> Result<Journal, Damaged> {
    open(&files.iter().map(|(name, bytes)| (name.clone(), Bytes::copy_from_slice(bytes))).collect())
}

/// The journal begins at `first` and holds these and no other records.
fn assert_is_prefix(journal: &Journal, first: u64) {
    for (sequence, record) in (first..).zip(&journal.records) {
        assert_eq!(record[..], payload(sequence)[..]);
    }
    assert_eq!(journal.next, first + journal.records.len() as u64);
}

#[test]
fn what_was_written_is_read() {
    for snapshot in [None, Some(4)] {
        let (mut files, next) = image(&[1, 2, 5, 1, 3], snapshot);
        for zeros in [0, 4096] {
            files.values_mut().last().map(|file| file.resize(file.len() + zeros, 0)).unwrap();
            let journal = opened(&files).unwrap();
            assert_eq!(journal.next, next);
            assert_is_prefix(&journal, snapshot.unwrap_or(1));
        }
    }
    assert_eq!(opened(&BTreeMap::new()).unwrap(), Journal { next: 1, ..Journal::default() });
}

#[test]
fn power_lost_at_any_byte_of_the_last_batch_loses_only_that_batch() {
    let (files, next) = image(&[1, 2, 5, 1, 3], None);
    let (stable, _) = image(&[1, 2, 5, 1], None);
    let (whole, stable) = (&files[&log_name(1)], stable[&log_name(1)].len());
    for cut in stable..=whole.len() {
        // Cut short, or with zeros where the rest would be.
        for zeros in [0, whole.len() - cut] {
            let mut torn = whole[..cut].to_vec();
            torn.resize(cut + zeros, 0);
            let journal = opened(&[(log_name(1), torn)].into()).unwrap();
            assert_is_prefix(&journal, 1);
            assert!((next - 3..=next).contains(&journal.next), "{} at {cut}", journal.next);
        }
    }
}

#[test]
fn blocks_of_the_last_batch_may_reach_the_disk_in_any_order() {
    let (files, next) = image(&[2, 9], None);
    let (stable, _) = image(&[2], None);
    let (whole, stable) = (&files[&log_name(1)], stable[&log_name(1)].len());
    for missing in (stable..whole.len()).step_by(16) {
        let mut torn = whole.clone();
        torn[missing..(missing + 16).min(whole.len())].fill(0);
        let journal = opened(&[(log_name(1), torn)].into()).unwrap();
        assert_is_prefix(&journal, 1);
        assert!((next - 9..=next).contains(&journal.next));
    }
}

#[test]
fn a_flipped_bit_is_refused_or_costs_no_more_than_the_last_batch() {
    for snapshot in [None, Some(4)] {
        let (files, next) = image(&[1, 2, 5, 1, 3], snapshot);
        let mut refused = 0;
        for (name, whole) in &files {
            for bit in 0..whole.len() * 8 {
                let mut flipped = files.clone();
                flipped.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
                match opened(&flipped) {
                    Ok(journal) => {
                        assert_is_prefix(&journal, snapshot.unwrap_or(1));
                        assert!(journal.next >= next - 3, "bit {bit} of {name} lost a stable record unseen");
                    }
                    Err(damaged) => {
                        assert_eq!(&damaged.file, name);
                        refused += 1;
                    }
                }
            }
        }
        assert!(refused > 1000, "{refused}");
    }
}

#[test]
fn damage_in_the_middle_names_file_and_offset() {
    let (mut files, _) = image(&[1, 1, 1], None);
    files.get_mut(&log_name(1)).unwrap()[HEADER_BYTES + record_bytes(8) + RECORD_HEADER_BYTES] ^= 1;
    let damaged = opened(&files).unwrap_err();
    assert_eq!(damaged.damage, Damage::Middle { offset: HEADER_BYTES + record_bytes(8) });
    assert!(damaged.to_string().contains("log-0000000000000001: damaged at offset 64"), "{damaged}");
}

#[test]
fn a_missing_file_is_noticed() {
    let (mut files, _) = image(&[2], None);
    let mut second = header(FileKind::Log, 4).to_vec();
    put_record(&mut second, 4, 4, b"x");
    files.insert(log_name(4), second);
    // The second file was begun after record 3, which the first does not have.
    let end = HEADER_BYTES + record_bytes(8) + record_bytes(15);
    let damaged = opened(&files).unwrap_err();
    assert_eq!((damaged.file, damaged.damage), (log_name(1), Damage::Middle { offset: end }));
    files.remove(&log_name(1));
    assert_eq!(opened(&files).unwrap_err().damage, Damage::Missing { sequence: 1 });
}

#[test]
fn a_log_without_a_whole_header_is_damage() {
    let (mut files, next) = image(&[2], None);
    for torn in [&[][..], &[0; 4096], &header(FileKind::Log, next)[..20]] {
        files.insert(log_name(next), torn.to_vec());
        assert_eq!(opened(&files).unwrap_err().damage, Damage::Header, "it has its name only when it is whole");
    }
}

/// A log of this many records, each a batch of its own, as it is on the disk; and where each record ends.
fn filled(fill: usize, records: u64) -> (Vec<u8>, Vec<usize>) {
    let mut file = log_header(1, u32::try_from(fill).unwrap()).to_vec();
    let (mut length, mut ends) = (fill, Vec::new());
    for sequence in 1..=records {
        put_record(&mut file, sequence, sequence, &payload(sequence));
        if file.len() >= length {
            length = file.len() + fill;
        }
        ends.push(file.len());
    }
    file.resize(length, 0);
    (file, ends)
}

fn read_log(file: &[u8]) -> Result<usize, Damage> {
    let opened = opened(&[(log_name(1), file.to_vec())].into());
    opened.map(|journal| journal.records.len()).map_err(|damaged| damaged.damage)
}

#[test]
fn a_log_that_is_cut_anywhere_is_refused_if_a_record_is_lost() {
    for fill in [64, 200, 4096] {
        let (file, ends) = filled(fill, 12);
        assert_eq!(read_log(&file), Ok(12));
        for cut in 0..file.len() {
            let lost = ends.iter().filter(|&&end| end > cut).count();
            match read_log(&file[..cut]) {
                Ok(read) => assert_eq!(read, 12, "cut at {cut} of {}, fill {fill}: {lost} lost unseen", file.len()),
                Err(Damage::Short { bytes, stable }) => assert!(bytes == cut && stable > cut),
                Err(Damage::Header) => assert!(cut < HEADER_BYTES),
                Err(other) => panic!("cut at {cut}: {other}"),
            }
        }
    }
}

#[test]
fn a_power_failure_while_a_log_grows_is_no_damage() {
    const FILL: usize = 128;
    for records in 1..12 {
        let (before, ends) = filled(FILL, records);
        let (after, _) = filled(FILL, records + 1);
        let start = *ends.last().unwrap();
        // The file grows first, by any part; then the record is written, of which any part is there.
        for length in before.len()..=after.len() {
            let mut torn = before.clone();
            torn.resize(length, 0);
            assert_eq!(read_log(&torn), Ok(usize::try_from(records).unwrap()), "grown to {length}");
        }
        for written in start..after.len() {
            let mut torn = after.clone();
            torn[written..].fill(0);
            let read =
                read_log(&torn).unwrap_or_else(|damage| panic!("{records} records, written up to {written}: {damage}"));
            assert!(read as u64 >= records);
        }
    }
}

#[test]
fn a_newer_file_is_refused_by_its_version() {
    let (mut files, _) = image(&[2], None);
    let file = files.get_mut(&log_name(1)).unwrap();
    file[8] = 9;
    let crc = crc32fast::hash(&file[..24]).to_le_bytes();
    file[24..28].copy_from_slice(&crc);
    let damaged = opened(&files).unwrap_err();
    assert_eq!(damaged.damage, Damage::Newer { version: 9 });
    assert!(damaged.to_string().contains("newer"), "{damaged}");
}

#[test]
fn files_before_the_snapshot_are_not_needed() {
    let (mut files, next) = image(&[1, 2, 5, 1, 3], Some(4));
    files.insert(log_name(1), b"left over by a crash".to_vec());
    files.insert(snapshot_name(2), b"this too".to_vec());
    let journal = opened(&files).unwrap();
    assert_eq!(journal.next, next);
    assert_eq!(journal.obsolete, [snapshot_name(2), log_name(1)]);
}
