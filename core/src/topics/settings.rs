//! What lanes of a topic agree on, kept once for all that do.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use crate::lane::Terms;
use crate::policy::Policy;

/// What a lane was made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Settings {
    pub(crate) terms: Terms,
    pub(crate) age_max: Option<Duration>,
    /// Of the dialect.
    pub(crate) encoding: usize,
}

impl Settings {
    fn key(&self) -> Key {
        let limits = self.terms.limits;
        (limits.messages_max, limits.bytes_max, self.terms.policy, self.age_max, self.encoding)
    }
}

type Key = (u32, u64, Policy, Option<Duration>, usize);

#[derive(Debug)]
struct Shared {
    settings: Settings,
    lanes: u32,
}

/// Each setting that some lane has, by a number.
#[derive(Debug, Default)]
pub(crate) struct SettingsTable {
    shared: Vec<Shared>,
    free: Vec<u32>,
    numbers: BTreeMap<Key, u32>,
}

impl SettingsTable {
    /// One more lane has these.
    pub(super) fn add(&mut self, settings: Settings) -> u32 {
        if let Some(number) = self.numbers.get(&settings.key()) {
            self.shared[*number as usize].lanes += 1;
            return *number;
        }
        let shared = Shared { settings, lanes: 1 };
        let number = match self.free.pop() {
            Some(number) => {
                self.shared[number as usize] = shared;
                number
            }
            None => {
                self.shared.push(shared);
                u32::try_from(self.shared.len() - 1).expect("no more settings than lanes")
            }
        };
        self.numbers.insert(settings.key(), number);
        number
    }

    /// One lane less has them.
    pub(super) fn remove(&mut self, number: u32) {
        let shared = &mut self.shared[number as usize];
        shared.lanes -= 1;
        if shared.lanes == 0 {
            self.numbers.remove(&shared.settings.key());
            self.free.push(number);
        }
    }

    pub(super) fn get(&self, number: u32) -> &Settings {
        &self.shared[number as usize].settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LaneLimits;

    #[test]
    fn equal_settings_are_kept_once_and_go_with_their_last_lane() {
        let with = |messages_max| {
            let limits = LaneLimits { messages_max, bytes_max: 10 };
            Settings { terms: Terms { limits, policy: Policy::Block }, age_max: None, encoding: 1 }
        };
        let mut table = SettingsTable::default();
        let numbers = [table.add(with(1)), table.add(with(2)), table.add(with(1))];
        assert_eq!(numbers, [0, 1, 0]);
        table.remove(0);
        assert_eq!(*table.get(0), with(1), "one lane still has them");
        table.remove(0);
        assert_eq!((table.add(with(3)), table.add(with(2)), table.add(with(1))), (0, 1, 2));
        assert_eq!([0, 1, 2].map(|number| *table.get(number)), [with(3), with(2), with(1)]);
    }
}
