//! The members by name, and what must not be counted anew for each message:
//! how many there are, and who is gone longest.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::ops::{Deref, DerefMut, Index};

use bytes::Bytes;

use super::member::{Life, Member};
use crate::time::Timestamp;

/// The members by name.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_name: BTreeMap<Bytes, Member>,
    places: Places,
}

/// Where members stand that are not in their first place.
#[derive(Debug, Default)]
struct Places {
    /// Those that are gone, the one gone longest first.
    gone: BTreeSet<(Timestamp, Bytes)>,
    /// Those of them that are forgotten.
    forgotten: usize,
    /// Those that can be talked to.
    present: usize,
}

/// What of a member decides where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    gone: Option<Timestamp>,
    forgotten: bool,
    present: bool,
}

impl Place {
    fn of(member: &Member) -> Self {
        let gone = member.gone().then_some(member.since);
        Self { gone, forgotten: member.life == Life::Forgotten, present: member.present() }
    }
}

impl Places {
    fn enter(&mut self, name: &Bytes, place: Place) {
        if let Some(since) = place.gone {
            self.gone.insert((since, name.clone()));
        }
        self.forgotten += usize::from(place.forgotten);
        self.present += usize::from(place.present);
    }

    fn leave(&mut self, name: &Bytes, place: Place) {
        if let Some(since) = place.gone {
            self.gone.remove(&(since, name.clone()));
        }
        self.forgotten -= usize::from(place.forgotten);
        self.present -= usize::from(place.present);
    }
}

impl Members {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Those that are not forgotten.
    pub(super) fn remembered(&self) -> usize {
        self.by_name.len() - self.places.forgotten
    }

    /// Those that can be talked to.
    pub(super) fn present(&self) -> usize {
        self.places.present
    }

    /// Those that are gone, the one gone longest first.
    pub(super) fn gone(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.places.gone.iter().map(|(_, name)| name)
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<&Member> {
        self.by_name.get(name)
    }

    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.by_name.contains_key(name)
    }

    /// A member that may change.
    pub(super) fn get_mut(&mut self, name: &[u8]) -> Option<Changing<'_>> {
        let (key, _) = self.by_name.get_key_value(name)?;
        let name = key.clone();
        let member = self.by_name.get_mut(&name)?;
        let before = Place::of(member);
        Some(Changing { name, member, places: &mut self.places, before })
    }

    pub(super) fn insert(&mut self, name: Bytes, member: Member) {
        self.remove(&name);
        self.places.enter(&name, Place::of(&member));
        self.by_name.insert(name, member);
    }

    pub(super) fn remove(&mut self, name: &Bytes) -> Option<Member> {
        let member = self.by_name.remove(name)?;
        self.places.leave(name, Place::of(&member));
        Some(member)
    }

    pub(super) fn iter(&self) -> btree_map::Iter<'_, Bytes, Member> {
        self.by_name.iter()
    }

    /// Those behind this name, or all.
    pub(super) fn after(&self, name: Option<&Bytes>) -> btree_map::Range<'_, Bytes, Member> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = name.map_or(Unbounded, Excluded);
        self.by_name.range::<Bytes, _>((start, Unbounded))
    }
}

impl Index<&Bytes> for Members {
    type Output = Member;

    fn index(&self, name: &Bytes) -> &Member {
        &self.by_name[name]
    }
}

/// A member that may change; where it stands follows when this ends.
#[derive(Debug)]
pub(super) struct Changing<'a> {
    name: Bytes,
    member: &'a mut Member,
    places: &'a mut Places,
    before: Place,
}

impl Deref for Changing<'_> {
    type Target = Member;

    fn deref(&self) -> &Member {
        self.member
    }
}

impl DerefMut for Changing<'_> {
    fn deref_mut(&mut self) -> &mut Member {
        self.member
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        let after = Place::of(self.member);
        if after != self.before {
            self.places.leave(&self.name, self.before);
            self.places.enter(&self.name, after);
        }
    }
}

#[cfg(test)]
impl Members {
    /// What is counted along is what a count finds.
    pub(super) fn check(&self) {
        let count = |fits: fn(&Member) -> bool| self.by_name.values().filter(|member| fits(member)).count();
        assert_eq!(self.remembered(), count(|member| member.life != Life::Forgotten));
        assert_eq!(self.present(), count(Member::present));
        let gone = self.by_name.iter().filter(|(_, member)| member.gone());
        assert_eq!(self.places.gone, gone.map(|(name, member)| (member.since, name.clone())).collect());
    }
}
