//! The cases, by what is particular about them.

mod codecs;
mod colours;
mod damage;
mod joins;
mod refused;
mod shapes;
mod sound;
mod times;

use super::case::Case;

/// Cases of one kind.
pub struct Group {
    pub title: &'static str,
    pub cases: Vec<Case>,
}

/// All cases in the order of the table.
pub fn groups() -> Vec<Group> {
    let group = |title, cases| Group { title, cases };
    vec![
        group("Frame rates and time stamps", times::cases()),
        group("Time stamps that restart or leap", joins::cases()),
        group("Shapes", shapes::cases()),
        group("Colours and depths", colours::cases()),
        group("Codecs and containers", codecs::cases()),
        group("Sound", sound::cases()),
        group("Damaged and incomplete", damage::cases()),
        group("Refused", refused::cases()),
    ]
}

/// All cases in one list.
pub fn all() -> Vec<Case> {
    groups().into_iter().flat_map(|group| group.cases).collect()
}
