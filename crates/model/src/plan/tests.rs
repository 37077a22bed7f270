use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    candidate::Fallback,
    config::{Around, Config, read},
    error::{ErrorKind, ProviderError},
    name::ProviderName,
    options::{OptionKey, Options, TagRules, Takes},
    order::OperatorToolchain,
    price::{Billed, Price},
};

const FILE: &str = r#"
[project]
name = "mvm"
[sources]
mvm = { path = "../mvm" }
[lanes.no-kvm]
boxes = ["hetzner"]
ttl = "1h"
checks = "rust"
[lanes.live]
kvm = "required"
boxes = ["gcp", "aws", { provider = "aws", type = "c5.metal", region = "eu-west-1", disk = 60 }]
ttl = "2h"
max-cost = "5 USD"
checks = [{ name = "live", run = "cargo test" }]
[lanes.any]
kvm = "nested"
boxes = "cheapest"
checks = ["test"]
"#;

fn config(text: &str) -> Config {
    read(text, &Around::default()).unwrap()
}

pub(super) fn facts() -> Facts {
    let providers = [
        ("aws", "c8i.xlarge", "us-east-1"),
        ("gcp", "n2-standard-4", "us-central1-a"),
        ("hetzner", "cx43", "nbg1"),
        ("local", "2x4g", "here"),
    ];
    let defaults = |(name, instance_type, region): (&str, &str, &str)| {
        let defaults = Defaults {
            instance_type: instance_type.into(),
            region: region.into(),
            fallbacks: Vec::new(),
            takes: takes(name),
            is_cloud: name != "local",
        };
        (ProviderName::new(name).unwrap(), defaults)
    };
    let offers = [
        ("gcp", "n2", "0.19 USD", KvmNeed::Nested),
        ("aws", "c8i", "0.17 USD", KvmNeed::Nested),
        ("aws", "c5.metal", "0.01 USD", KvmNeed::Metal),
        ("hetzner", "cx23", "0.005 EUR", KvmNeed::Nested),
        ("vultr", "vx1", "0.02 USD", KvmNeed::Nested),
    ];
    let offer = |(provider, instance_type, hourly, kvm): (&str, &str, &str, KvmNeed)| Offer {
        candidate: Candidate {
            provider: ProviderName::new(provider).unwrap(),
            region: "r".into(),
            instance_type: instance_type.into(),
            image: None,
            disk_gb: None,
            options: Box::default(),
        },
        hourly: Money::parse(hourly).unwrap(),
        kvm,
    };
    Facts {
        run: RunId::new("20260102-030405-7f3a").unwrap(),
        random: 0x7f3a,
        dir: "/home/eve/ops".into(),
        missing: BTreeSet::new(),
        lacks_manifest: false,
        providers: BTreeMap::from_iter(providers.map(defaults)),
        offers: offers.map(offer).to_vec(),
        owner: Owner::default(),
        toolchain: None,
        ca_certs: Vec::new(),
        operator_ca_certs: Vec::new(),
        revision: None,
        variables: ["PATH".to_owned()].into(),
        past: crate::part::Past::default(),
    }
}

/// `gcp` takes both, `aws` spot alone.
fn takes(provider: &str) -> Takes {
    let keys: &[OptionKey] = match provider {
        "gcp" => &OptionKey::ALL,
        "aws" => &[OptionKey::Spot],
        _ => &[],
    };
    let tags = TagRules {
        count_max: 4,
        lengths: (20, 20),
        marks: "-",
        is_lower: true,
        reserved: &[],
    };
    Takes {
        keys,
        tags,
        ..Takes::default()
    }
}

fn of_lane(lines: &str) -> Result<Vec<Options>, Vec<String>> {
    let text = format!("[lanes.a]\nchecks = [\"test\"]\n{lines}");
    let planned = plan(&config(&text), &Asked::default(), &facts());
    let options = |plan: Plan| {
        plan.lanes[0]
            .candidates
            .iter()
            .map(|it| (*it.options).clone())
            .collect()
    };
    let shown = |mistake: PlanMistake| format!("{} / {}", mistake.message, mistake.help.unwrap_or_default());
    planned
        .map(options)
        .map_err(|wrong| wrong.into_iter().map(shown).collect())
}

#[test]
fn options_are_a_candidates_own_and_its_providers_to_take() {
    let spot = "boxes = [{ provider = \"aws\", spot = true }, \"aws\"]";
    let of_spot = of_lane(spot).unwrap();
    assert_eq!(
        of_spot.iter().map(|it| it.spot).collect::<Vec<_>>(),
        [true, false]
    );
    let wrong = of_lane("boxes = [{ provider = \"hetzner\", spot = true }]").unwrap_err();
    let expected = "lane a: hetzner: it does not take `spot`: it sells no boxes that it may take back / leave it away, or use a \
                    provider that takes it: aws, gcp";
    assert_eq!(wrong, [expected]);
}

#[test]
fn tags_of_a_lane_are_every_clouds_and_a_candidates_own_count_more() {
    let lane = "tags = { team = \"ci\", cost = \"1\" }\n";
    let tags = of_lane(&format!(
        "{lane}boxes = [\"local\", {{ provider = \"gcp\", tags = {{ cost = \"2\" }} }}]"
    ));
    let shown: Vec<String> = tags.unwrap().iter().map(|it| format!("{:?}", it.tags)).collect();
    assert_eq!(shown, ["{}", "{\"cost\": \"2\", \"team\": \"ci\"}"]);
    let wrong = of_lane(&format!("{lane}boxes = [\"hetzner\"]")).unwrap_err();
    assert!(wrong[0].contains("carry no tags but twolane's"), "{wrong:?}");
    let ours = of_lane("boxes = [{ provider = \"gcp\", tags = { mvm-run = \"1\" } }]").unwrap_err();
    assert!(ours[0].contains("twolane's own"), "{ours:?}");
}

/// Reads flags such as `live --region us-east-1` as [`Asked`].
fn asked(flags: &str) -> Asked {
    let mut asked = Asked::default();
    let mut words = flags.split_whitespace().map(str::to_owned);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--continue" => asked.is_continued = true,
            "--allow-cidr" => asked.allow.extend(words.next()),
            "--provider" => asked.provider = words.next(),
            "--region" => asked.region = words.next(),
            "--instance-type" => asked.instance_type = words.next(),
            "--disk" => asked.disk = words.next(),
            "--ttl" => asked.ttl = words.next(),
            "--max-cost" => asked.max_cost = words.next().map(|text| text.replace("USD", " USD")),
            "--label" => asked.label = words.next(),
            "--keep" => asked.keep = words.next(),
            "--key" => asked.operator_key = words.next(),
            _ => asked.lanes.push(word),
        }
    }
    asked
}

fn planned(flags: &str) -> Plan {
    plan(&config(FILE), &asked(flags), &facts()).unwrap()
}

/// Plans lane by lane: `LABEL TTL: CANDIDATE, CANDIDATE`.
#[track_caller]
fn check(flags: &str, expected: &[&str]) {
    let lane = |lane: &LanePlan| {
        let candidate = |candidate: &Candidate| match candidate.disk_gb {
            Some(disk) => format!("{candidate} with {disk} GiB"),
            None => candidate.to_string(),
        };
        let candidates: Vec<String> = lane.candidates.iter().map(candidate).collect();
        format!(
            "{} {}s: {}",
            lane.label,
            lane.ttl.as_secs(),
            candidates.join(", ")
        )
    };
    let lanes: Vec<String> = planned(flags).lanes.iter().map(lane).collect();
    assert_eq!(lanes, expected, "{flags}");
}

#[track_caller]
fn check_refused(flags: &str, facts: &Facts, expected: &[&str]) {
    let mistakes = plan(&config(FILE), &asked(flags), facts).unwrap_err();
    let shown: Vec<String> = mistakes
        .into_iter()
        .map(|mistake| format!("{} / {}", mistake.message, mistake.help.unwrap_or_default()))
        .collect();
    assert_eq!(shown.len(), expected.len(), "{shown:#?}");
    for (shown, expected) in shown.iter().zip(expected) {
        assert!(shown.contains(expected), "{shown:?} lacks {expected:?}");
    }
}

#[test]
fn without_flags_the_file_and_the_providers_defaults_hold() {
    check(
        "",
        &[
            "mvm-no-kvm-7f3a 3600s: hetzner cx43 in nbg1",
            "mvm-live-7f3b 7200s: gcp n2-standard-4 in us-central1-a, aws c8i.xlarge in us-east-1, aws c5.metal in eu-west-1 with 60 GiB",
            "mvm-any-7f3c 7200s: aws c8i in r, gcp n2 in r, hetzner cx23 in r",
        ],
    );
}

#[test]
fn where_neither_size_nor_place_is_named_the_providers_fallbacks_are_tried() {
    let fallback = |(instance_type, region): (&str, &str)| Fallback {
        instance_type: instance_type.into(),
        region: region.into(),
    };
    let mut facts = facts();
    let hetzner = facts
        .providers
        .get_mut(&ProviderName::new("hetzner").unwrap())
        .unwrap();
    hetzner.fallbacks = [("cx43", "hel1"), ("cx43", "nbg1"), ("cpx42", "nbg1")]
        .map(fallback)
        .to_vec();
    let of = |flags: &str| shown(&plan(&config(FILE), &asked(flags), &facts).unwrap());
    let fallbacks = [
        "hetzner cx43 in nbg1",
        "hetzner cx43 in hel1",
        "hetzner cpx42 in nbg1",
    ];
    assert_eq!(of("no-kvm"), fallbacks);
    assert_eq!(of("live --provider hetzner --disk 80"), fallbacks);
    assert_eq!(of("no-kvm --region hel1"), ["hetzner cx43 in hel1"]);
    assert_eq!(of("no-kvm --instance-type cpx51"), ["hetzner cpx51 in nbg1"]);
}

#[test]
fn an_address_is_needed_only_where_the_provider_has_a_network() {
    let has_own_network = |provider: &ProviderName| provider.as_str() != "local";
    let needs = |flags: &str| needs_address(&planned(flags), &has_own_network);
    assert!(needs(""));
    assert!(needs("no-kvm"));
    assert!(!needs("--provider local"));
    assert!(!needs("no-kvm --allow-cidr 203.0.113.7"));
}

#[test]
fn private_box_is_open_to_whom_was_named_alone() {
    let boxes = "boxes = [{ provider = \"gcp\", address = \"private\", jump = \"eve@bastion:2222\" }]";
    let text = format!("[lanes.a]\nchecks = [\"test\"]\n{boxes}");
    let planned = |flags: &str| plan(&config(&text), &asked(flags), &facts());
    let wrong = planned("a").unwrap_err();
    let shown = format!("{wrong:?}");
    assert!(
        shown.contains("seen there by another address") && shown.contains("--allow-cidr RANGE"),
        "{shown}"
    );
    let plan = planned("a --allow-cidr 10.0.0.7").unwrap();
    let candidate = &plan.lanes[0].candidates[0];
    assert!(candidate.options.private && !needs_address(&plan, &|_| true));
    assert!(
        candidate.to_string().ends_with(", through eve@bastion:2222"),
        "{candidate}"
    );
    // What is in the plan comes back out of the journal.
    let text = serde_json::to_string(candidate).unwrap();
    assert_eq!(&serde_json::from_str::<Candidate>(&text).unwrap(), candidate);
    let refused = of_lane("boxes = [{ provider = \"hetzner\", address = \"private\" }]").unwrap_err();
    assert!(
        refused[0].contains("hetzner: it does not take `address`"),
        "{refused:?}"
    );
}

#[test]
fn a_flag_counts_more_than_the_file() {
    check(
        "live --provider aws --region us-west-2 --ttl 30m --disk 80",
        &[
            "mvm-live-7f3a 1800s: aws c8i.xlarge in us-west-2 with 80 GiB, aws c5.metal in us-west-2 with 80 GiB",
        ],
    );
    check(
        "live --provider aws --region us-west-2 --instance-type m8i.large",
        &["mvm-live-7f3a 7200s: aws m8i.large in us-west-2"],
    );
    check(
        "live --provider local --label my-box",
        &["my-box 7200s: local 2x4g in here"],
    );
    check(
        "any --provider local",
        &["mvm-any-7f3a 7200s: local 2x4g in here"],
    );
}

#[test]
fn the_rest_of_what_was_asked_is_in_the_plan() {
    let plan = planned("live --keep 30m --continue --allow-cidr 203.0.113.7 --allow-cidr 2001:db8::/32");
    assert_eq!(plan.keep, Keep::Failed(Duration::from_secs(1800)));
    assert!(plan.is_continued);
    assert_eq!(plan.allow, ["203.0.113.7/32", "2001:db8::/32"]);
    assert_eq!(plan.sources[0].path, "/home/eve/mvm");
    assert_eq!(plan.lanes[0].max_cost, [Money::parse("5 USD").unwrap()]);
    assert_eq!(planned("").keep, Keep::Never);
}

#[test]
fn every_mistake_is_reported() {
    let mut facts = facts();
    facts.missing.insert("../mvm".into());
    check_refused(
        "lvie --provider awss --ttl 50h --disk 1 --label Box --keep soon --allow-cidr 300.1.1.1 --key x --region $(x)",
        &facts,
        &[
            "there is no directory /home/eve/ops/../mvm",
            "there is no lane `lvie` / did you mean `live`?",
            "--region: `$(x)`",
            "did you mean `aws`?",
            "--disk: `1` is not a size in GiB",
            "--ttl: a box may live from 1m to 48h, not 50h",
            "--label: `Box` is not a label",
            "--allow-cidr: `300.1.1.1` is not an address range",
            "SSH_PUBKEY",
            "--keep: `soon` is not a length of time",
        ],
    );
}

#[test]
fn a_label_is_for_one_box() {
    check_refused("--label my-box", &facts(), &["given for 3 lanes"]);
}

#[test]
fn a_place_is_one_providers_own_word() {
    check_refused(
        "live --region us-east-1",
        &facts(),
        &["lane live may use aws, gcp"],
    );
}

#[test]
fn a_provider_that_cannot_be_used_is_reported_with_its_lane() {
    let mut facts = facts();
    facts.providers.retain(|name, _| name.as_str() == "local");
    check_refused(
        "no-kvm",
        &facts,
        &["lane no-kvm: there is no provider `hetzner` to use / usable here: local"],
    );
    check_refused("any", &facts, &["lane any: of no box"]);
}

#[test]
fn the_operators_toolchain_goes_along_only_when_asked_for() {
    let toolchain = OperatorToolchain {
        key: "k".into(),
        sysroot: "/opt/rust".into(),
        programs: vec![],
    };
    let with = Facts {
        toolchain: Some(toolchain.clone()),
        ..facts()
    };
    let text = |from: &str| {
        config(&format!(
            "[system]\nrust = {{ from = \"{from}\" }}\n[lanes.a]\nchecks = \"rust\""
        ))
    };
    let planned = |from, facts| plan(&text(from), &Asked::default(), facts);
    assert_eq!(planned("operator", &with).unwrap().toolchain, Some(toolchain));
    assert_eq!(planned("apt", &with).unwrap().toolchain, None);
    assert_eq!(planned("operator", &facts()).unwrap_err().len(), 1);
}

#[test]
fn too_dear_candidates_leave_the_plan() {
    let price = |candidate: &Candidate| match candidate.instance_type.as_str() {
        "c5.metal" => Price::Hourly {
            amount: Money::parse("4.08 USD").unwrap(),
            day: "2026-11-23".into(),
            billed: Billed::BY_SECOND,
        },
        "c8i.xlarge" => Price::Hourly {
            amount: Money::parse("0.18 USD").unwrap(),
            day: "2026-11-23".into(),
            billed: Billed::BY_SECOND,
        },
        _ => Price::Unknown,
    };
    let judge = Judge {
        unable: &|_, _| None,
        price: &price,
    };
    let mut plan = planned("live");
    let (refused, mistakes) = refuse(&mut plan, &judge);
    assert_eq!(mistakes, []);
    assert_eq!(shown(&plan), ["aws c8i.xlarge in us-east-1"]);
    assert_eq!(refused.len(), 2);
    assert!(refused[1].why.contains("8.16 USD"), "{}", refused[1].why);

    let (_, mistakes) = refuse(&mut planned("live --provider gcp"), &judge);
    assert!(
        mistakes[0].because[0].contains("its price is not known"),
        "{mistakes:?}"
    );
    let (refused, mistakes) = refuse(&mut planned("no-kvm"), &judge);
    assert!(refused.is_empty() && mistakes.is_empty());
}

/// Returns the candidates of the first lane.
fn shown(plan: &Plan) -> Vec<String> {
    let lane = plan.lanes.first().unwrap();
    lane.candidates.iter().map(Candidate::to_string).collect()
}

#[test]
fn who_cannot_serve_the_lane_leaves_the_plan_with_the_reason() {
    let unable = |candidate: &Candidate, need: KvmNeed| {
        let cause = match candidate.provider.as_str() {
            "aws" => "AWS_PROFILE is not set",
            "hetzner" if need.is_needed() => "no type has KVM",
            _ => return None,
        };
        Some(ProviderError {
            kind: ErrorKind::Unauthorized,
            provider: candidate.provider.clone(),
            operation: "be used".into(),
            cause: cause.into(),
            help: Some(format!("fix {}", candidate.provider)),
        })
    };
    let judge = Judge {
        unable: &unable,
        price: &|_| Price::Free,
    };
    let mut plan = planned("live");
    let (refused, mistakes) = refuse(&mut plan, &judge);
    assert_eq!((refused.len(), mistakes.len()), (2, 0));
    assert_eq!(shown(&plan), ["gcp n2-standard-4 in us-central1-a"]);
    assert_eq!(refused[0].why, "AWS_PROFILE is not set");

    let (refused, mistakes) = refuse(&mut planned("no-kvm"), &judge);
    assert_eq!((refused.len(), mistakes.len()), (0, 0));

    // A lane that loses all keeps them, so that they can be shown.
    let mut plan = planned("any --provider hetzner");
    let (refused, mistakes) = refuse(&mut plan, &judge);
    assert_eq!((refused.len(), shown(&plan).len()), (0, 1));
    assert_eq!(mistakes[0].message, "no box for lane any");
    assert_eq!(mistakes[0].because, ["hetzner cx43 in nbg1: no type has KVM"]);
    assert_eq!(mistakes[0].help.as_deref(), Some("fix hetzner"));
}

#[test]
fn a_machine_that_is_already_there_has_to_be_named() {
    let mut facts = facts();
    let defaults = Defaults {
        instance_type: "as-it-is".to_owned(),
        region: String::new(),
        fallbacks: Vec::new(),
        takes: Takes::default(),
        is_cloud: true,
    };
    facts
        .providers
        .insert(ProviderName::new("host").unwrap(), defaults);
    let text = "[lanes.a]\nboxes = [\"host\"]\nchecks = \"rust\"\n";
    let planned = |flags: &str| plan(&config(text), &asked(flags), &facts);
    let mistakes = planned("").unwrap_err();
    assert!(
        mistakes[0]
            .help
            .as_deref()
            .unwrap()
            .contains("--host user@machine"),
        "{mistakes:?}"
    );
    for address in ["eve@desk:2222", "desk", "root@[::1]:22"] {
        let plan = planned(&format!("--provider host --region {address}")).unwrap();
        assert_eq!(plan.lanes[0].candidates[0].region, address);
    }
}

#[test]
fn a_limit_of_the_run_holds_for_all_lanes_together() {
    let hourly = |amount: &str| Price::Hourly {
        amount: Money::parse(amount).unwrap(),
        day: "2026-11-23".into(),
        billed: Billed::BY_SECOND,
    };
    let price = |candidate: &Candidate| match candidate.instance_type.as_str() {
        "c5.metal" => hourly("4 USD"),
        "c8i.xlarge" => hourly("0.20 USD"),
        _ => Price::Unknown,
    };
    let judge = Judge {
        unable: &|_, _| None,
        price: &price,
    };
    let planned = |flags: &str| {
        let mut plan = planned(flags);
        plan.lanes[0].max_cost.clear();
        plan
    };
    let mut plan = planned("live --max-cost 1USD");
    let (refused, mistakes) = refuse(&mut plan, &judge);
    assert_eq!(mistakes, []);
    assert_eq!(shown(&plan), ["aws c8i.xlarge in us-east-1"]);
    assert!(
        refused.iter().all(|refused| refused.why.contains("1.00 USD")),
        "{refused:?}"
    );

    let mut plan = planned("live --max-cost 0.10USD");
    let before = plan.lanes.clone();
    let (_, mistakes) = refuse(&mut plan, &judge);
    assert_eq!(mistakes[0].message, "the run could cost more than 0.10 USD");
    assert!(mistakes[0].because[0].contains("0.40 USD"), "{mistakes:?}");
    assert_eq!(plan.lanes, before, "it is shown as it is");

    // Two lanes that could each be paid alone.
    let mut plan = planned("live --max-cost 0.60USD");
    plan.lanes = vec![plan.lanes[0].clone(), plan.lanes[0].clone()];
    let (_, mistakes) = refuse(&mut plan, &judge);
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    plan.max_cost = Money::parse_limits("0.80 USD").unwrap();
    let (_, mistakes) = refuse(&mut plan, &judge);
    assert_eq!(mistakes, []);

    // What costs euros is held to the euros alone.
    let in_euros = |candidate: &Candidate| match candidate.instance_type.as_str() {
        "c5.metal" => hourly("4 EUR"),
        "c8i.xlarge" => hourly("0.20 USD"),
        _ => Price::Unknown,
    };
    let judge = Judge {
        unable: &|_, _| None,
        price: &in_euros,
    };
    for (limits, expected) in [
        (
            "1 USD, 9 EUR",
            vec!["aws c8i.xlarge in us-east-1", "aws c5.metal in eu-west-1"],
        ),
        ("1 USD, 7 EUR", vec!["aws c8i.xlarge in us-east-1"]),
        ("0.10 USD, 9 EUR", vec!["aws c5.metal in eu-west-1"]),
    ] {
        let mut plan = planned("live");
        plan.max_cost = Money::parse_limits(limits).unwrap();
        let (_, mistakes) = refuse(&mut plan, &judge);
        assert_eq!(
            (shown(&plan), mistakes),
            (expected.iter().map(ToString::to_string).collect(), vec![]),
            "{limits}"
        );
    }
}

#[test]
fn variable_that_is_not_set_is_missed_before_anything_is_made() {
    let text = |name: &str| {
        config(&format!(
            "[lanes.a]\nchecks = [{{ name = \"x\", run = \"y\", env-from = [\"{name}\"] }}]"
        ))
    };
    let planned = |name| plan(&text(name), &Asked::default(), &facts());
    assert_eq!(planned("PATH").unwrap().lanes[0].checks[0].env_from, ["PATH"]);
    let mistakes = planned("MVM_LIVE_KERNEL").unwrap_err();
    assert!(mistakes[0].message.contains("MVM_LIVE_KERNEL"), "{mistakes:?}");
}

#[test]
fn certificates_of_this_machine_reach_its_own_boxes_alone() {
    let facts = Facts {
        ca_certs: vec!["given".to_owned()],
        operator_ca_certs: vec!["given".to_owned(), "own".to_owned()],
        ..facts()
    };
    let plan = plan(&config("[lanes.a]\nchecks = \"rust\""), &Asked::default(), &facts).unwrap();
    let of = |provider: &str| {
        plan.certificates(&Candidate {
            provider: ProviderName::new(provider).unwrap(),
            ..plan.lanes[0].candidates[0].clone()
        })
    };
    assert_eq!(of("local"), ["given", "own"]);
    assert_eq!(of("hetzner"), ["given"]);
}

#[test]
fn cargo_is_not_sent_where_there_is_no_manifest() {
    let facts = Facts {
        lacks_manifest: true,
        ..facts()
    };
    let planned = |checks: &str| {
        plan(
            &config(&format!("[lanes.a]\nchecks = {checks}")),
            &Asked::default(),
            &facts,
        )
    };
    let mistakes = planned("\"rust\"").unwrap_err();
    assert!(
        mistakes[0].message.contains("has no Cargo.toml in /home/eve/ops"),
        "{mistakes:?}"
    );
    assert!(planned("[{ name = \"x\", run = \"make\" }]").is_ok());
    assert!(planned("[{ name = \"x\", run = \"cd sub && cargo test\" }]").is_ok());
}

/// Plans with a lane of one check of eight tests, and one that cannot be shared.
fn shared(boxes: Option<&str>, label: Option<&str>, command: &str) -> Result<Plan, Vec<PlanMistake>> {
    let text = format!(
        "[project]\nname = \"mvm\"\n[lanes.live]\nboxes = [\"aws\"]\nboxes-at-once = 3\nsetup = \"modprobe tun\"\nchecks = [\"clippy\", \
         {{ name = \"live\", run = \"{command}\" }}]\n"
    );
    let asked = Asked {
        is_shared: true,
        boxes: boxes.map(str::to_owned),
        label: label.map(str::to_owned),
        ..Asked::default()
    };
    let tests = (0..8).map(|number| (format!("t{number}"), Some(1.0))).collect();
    let past = |seconds, tests| crate::part::PastCheck { seconds, tests };
    let facts = Facts {
        past: [
            (("live".to_owned(), "live".to_owned()), past(8.0, tests)),
            (
                ("live".to_owned(), "clippy".to_owned()),
                past(4.0, BTreeMap::new()),
            ),
        ]
        .into(),
        ..facts()
    };
    plan(&config(&text), &asked, &facts)
}

#[test]
fn shared_lane_is_a_lane_for_each_box() {
    let plan = shared(None, None, "cargo nextest run").unwrap();
    let lanes: Vec<_> = plan
        .lanes
        .iter()
        .map(|lane| (lane.name.as_str(), lane.label.as_str()))
        .collect();
    assert_eq!(
        lanes,
        [
            ("live.1", "mvm-live-1-7f3b"),
            ("live.2", "mvm-live-2-7f3c"),
            ("live.3", "mvm-live-3-7f3d")
        ]
    );
    let commands: Vec<Vec<&str>> = plan
        .lanes
        .iter()
        .map(|lane| lane.checks.iter().map(|check| check.run.as_str()).collect())
        .collect();
    assert_eq!(commands[0][0], "modprobe tun");
    assert!(commands[0][1].contains("clippy"), "{commands:?}");
    // Clippy takes as long as four of the tests.
    assert_eq!(
        commands[1],
        [
            "modprobe tun",
            "cargo nextest run --no-tests=pass -- --exact 't0' 't2' 't4' 't6'"
        ]
    );
    assert!(plan.lanes[1].share.as_ref().is_some_and(|share| share.count == 3));
}

#[test]
fn lane_is_shared_over_no_more_boxes_than_have_something_to_run() {
    let plan = shared(Some("9"), None, "cargo nextest run").unwrap();
    assert_eq!(plan.lanes.len(), 9);
    let plan = shared(Some("20"), None, "cargo nextest run").unwrap();
    assert!(plan.lanes.len() < 20);
    assert!(plan.notes[0].contains("of 20 boxes"), "{:?}", plan.notes);
    let plan = shared(None, None, "make check").unwrap();
    assert_eq!((plan.lanes.len(), plan.lanes[0].name.as_str()), (1, "live"));
    assert_eq!(plan.notes.len(), 1);
    let plan = shared(None, None, "cargo test boots").unwrap();
    assert!(plan.notes[0].contains("a filter of its own"), "{:?}", plan.notes);
}

#[test]
fn wrong_number_of_boxes_is_refused() {
    for (boxes, label, expected) in [
        (Some("0"), None, "`0` is not a number from 1 to 64"),
        (Some("many"), None, "is not a number"),
        (None, Some("mvm-live-1"), "every box needs its own"),
    ] {
        let mistakes = shared(boxes, label, "cargo nextest run").unwrap_err();
        assert!(mistakes[0].message.contains(expected), "{mistakes:?}");
    }
}
