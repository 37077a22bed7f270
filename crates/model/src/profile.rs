//! What is always true of a provider, as one value.

use std::time::Duration;

use crate::{candidate::Fallback, machine::ResourceKind, name::ProviderName, options::Takes};

/// The facts of a provider. None of them takes a call, and none changes while the process lives.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its name.
    pub name: ProviderName,
    /// Instance types with their regions, in the order in which they are tried when a lane names neither. The first is
    /// the default of an order that names only one of both.
    pub choices: Vec<Fallback>,
    /// How a box ends if this machine is lost now, in one sentence.
    pub dead_mans_switch: String,
    /// Whether its boxes are reached over a network that the provider guards, so that an order has to name who may reach
    /// them.
    pub has_own_network: bool,
    /// Whether a create call that nobody waits for any more can still make a box. Only a provider that makes its boxes
    /// within this process, as `local` does, may answer no.
    pub can_turn_up_late: bool,
    /// How long a new thing may be missing from what the provider lists, and so be missed by `down`.
    pub listing_lag: Duration,
    /// Whether a create call may be sent again for the same attempt without making a second box: by an idempotency token,
    /// or by a name that the provider keeps unique.
    pub is_create_repeatable: bool,
    /// Whether the provider reports the host key of a box that is up, because its own agent makes that key and ours does
    /// not count.
    pub reports_host_key: bool,
    /// The longest user-data that it takes, in bytes.
    pub user_data_max: usize,
    /// What it takes of a candidate's options.
    pub takes: Takes,
    /// Which ranges of addresses an order has to name.
    pub ranges: Ranges,
    /// How long a box of a type may take from its create call to its address.
    pub up_max: fn(&str) -> Duration,
    /// The longest pause between two looks at a box that is coming or going: as often as its limit on requests allows.
    pub look_max: Duration,
    /// Whether a part of a box, such as its address, is listed only as long as its box is: then its absence from the list
    /// does not show that it is gone.
    pub lists_parts_through_box: bool,
    /// What the provider itself destroys with a box: it is destroyed by a call of its own only when it stays.
    pub goes_along: &'static [ResourceKind],
    /// How long destroying may take until nothing is listed any more.
    pub gone_max: Duration,
}

/// Which ranges of addresses that may reach SSH an order has to name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranges {
    /// It need not name any.
    None,
    /// One of either family.
    Any,
    /// One of IPv4: its boxes have no other address.
    Ipv4,
}

impl Profile {
    /// Makes the profile of a cloud of which nothing else is known.
    ///
    /// # Panics
    /// When the name breaks the rule of provider names.
    pub fn new(name: &str, choices: &[(&str, &str)], dead_mans_switch: &str) -> Self {
        let choice = |(instance_type, region): &(&str, &str)| Fallback {
            instance_type: (*instance_type).to_owned(),
            region: (*region).to_owned(),
        };
        Self {
            name: ProviderName::new(name).expect("it keeps to the rule"),
            choices: choices.iter().map(choice).collect(),
            dead_mans_switch: dead_mans_switch.to_owned(),
            has_own_network: true,
            can_turn_up_late: true,
            listing_lag: Duration::ZERO,
            is_create_repeatable: false,
            reports_host_key: false,
            user_data_max: usize::MAX,
            takes: Takes::default(),
            ranges: Ranges::Any,
            up_max: |_| Duration::from_secs(10 * 60),
            look_max: Duration::from_secs(2),
            lists_parts_through_box: false,
            goes_along: &[],
            gone_max: Duration::from_secs(9 * 60),
        }
    }
}
