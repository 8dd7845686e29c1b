//! Words for things that have none.

/// A word and what it stands for; every `id` has one.
pub fn definition(id: i64) -> &'static str {
    let count = i64::try_from(WORDS.len()).expect("there are few words");
    WORDS[usize::try_from(id.rem_euclid(count)).expect("a remainder is not negative")]
}

const WORDS: [&str; 40] = [
    "Abberwick (n.): The one sock that stays wet on the line when all the others are dry.",
    "Amblethorpe (v.): To slow down near your own front door so that the song can end.",
    "Bickerstow (n.): The couple at the next table whose quarrel you now know better than they do.",
    "Brindlecote (n.): Dust that is moved from one shelf to another and called cleaning.",
    "Cattermole Bay (n.): The part of a sofa where pens go to retire.",
    "Chudbury (adj.): Warm in the way only a laptop on its last battery is warm.",
    "Clunter (v.): To close a cupboard slowly because something inside has started to lean.",
    "Dapplesham (n.): Light through leaves that makes a bus stop look expensive.",
    "Drumlaggan (n.): The rhythm a man beats on a steering wheel to no music at all.",
    "Eddlestone (n.): The pebble that enters a shoe on the way to an interview.",
    "Fernhassock (v.): To greet a dog by name and its owner not at all.",
    "Figgleworth (n.): The change in a coat that turns spring into a payday.",
    "Flitcham Parva (n.): The pause in which two people each wait for the other to go through the door.",
    "Garrowby (adj.): Sure that the meeting was a Thursday.",
    "Glaspant (n.): The breath with which one cleans spectacles and makes them worse.",
    "Great Mumbling (n.): The second verse of any national anthem.",
    "Grindleford (n.): The noise a printer makes before it has decided to do nothing.",
    "Haxmoor (v.): To press a lift button that is already lit, as a senior expert.",
    "Hobblecombe (n.): The walk of one who has just said goodbye and goes the same way.",
    "Inchmuddle (n.): The last centimetre of tape, which knows what it is doing.",
    "Jarrowick (v.): To laugh at a joke three words before it ends, and have to wait there.",
    "Kettlewhin (n.): The hope that a machine works now because somebody looks at it.",
    "Knapping Stoke (n.): Sleep that happens with one eye on the right page.",
    "Lesser Wambling (n.): A reply-to-all that asks others not to reply to all.",
    "Lintwhistle (n.): What is in the pocket instead of the ticket.",
    "Mawkinholm (n.): The face made at a baby in a train, seen by its mother.",
    "Nettlebrow (n.): Anger at a jar that opens for somebody else.",
    "Oddlesby (n.): The spare screw of a shelf that stands, for now.",
    "Pargetfold (v.): To fold a map in the one way nobody has folded it before.",
    "Quibley-on-the-Hour (n.): The clock in the kitchen which everybody knows to be six minutes wrong.",
    "Rumbleswick (n.): A stomach heard by the whole library.",
    "Scantlebury (adj.): Thin, of a plot that was explained by the friend who fell asleep.",
    "Sloothe (v.): To carry all the shopping at once rather than be seen to go twice.",
    "Snodfield (n.): The half of a garden gnome that shows above the snow.",
    "Thrapple End (n.): The crumb that waits for a speech.",
    "Tidmarrow (n.): An umbrella that belongs to the office and to nobody in it.",
    "Upper Fret (n.): The hour of night at which all letters seem badly worded.",
    "Vennerdale (v.): To say 'no, you choose' and then to mind.",
    "Wexcombe (n.): The silence after a glass breaks and before somebody cheers.",
    "Yarpole (n.): The one who stands at the front of the concert and is tall.",
];

#[cfg(test)]
mod tests {
    #[test]
    fn every_id_has_a_definition() {
        for id in [0, 1, 39, 40, -1, i64::MIN, i64::MAX] {
            assert!(super::definition(id).contains(':'));
        }
        assert_ne!(super::definition(0), super::definition(-1));
    }
}
