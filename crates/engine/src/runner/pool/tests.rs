use super::*;

const HOUR: u64 = 3600;

/// A pool, and boxes that do at once what it decides, as far as they can.
struct Bench {
    pool: Pool,
    now: u64,
    made: usize,
}

fn label(number: usize) -> Label {
    Label::new(format!("kvm-{number}")).unwrap()
}

fn labels(numbers: &[usize]) -> Vec<Label> {
    numbers.iter().map(|number| label(*number)).collect()
}

impl Bench {
    fn new(max: usize, warm: usize) -> Self {
        let terms = Terms {
            max,
            warm,
            idle: Duration::from_secs(600),
            ttl: Duration::from_secs(2 * HOUR),
            grace: Duration::from_secs(HOUR),
            caps: Caps::default(),
        };
        Self {
            pool: Pool::new(terms),
            now: 0,
            made: 0,
        }
    }

    fn now(&self) -> Duration {
        Duration::from_secs(self.now)
    }

    /// Lets time pass and returns what is decided, a word each. New boxes are taken in.
    fn after(&mut self, seconds: u64) -> String {
        self.now += seconds;
        let mut words = Vec::new();
        for action in self.pool.decide(self.now()) {
            words.push(match action {
                Action::Start => {
                    self.made += 1;
                    self.pool
                        .begin(label(self.made), Duration::from_secs(2 * HOUR), self.now());
                    format!("start {}", self.made)
                }
                Action::Permit(label) => format!("permit {label}"),
                Action::Remove(label) => format!("remove {label}"),
                Action::End(label) => format!("end {label}"),
                Action::Destroy(label) => format!("destroy {label}"),
            });
        }
        words.join(", ").replace("kvm-", "")
    }

    fn assigned(&mut self, jobs: usize) -> String {
        self.news(jobs, &[], &[])
    }

    fn news(&mut self, jobs: usize, started: &[usize], ended: &[usize]) -> String {
        self.pool.news(jobs, &labels(started), &labels(ended), self.now());
        self.after(0)
    }

    /// Brings boxes to where they wait for a job.
    fn wait(&mut self, numbers: &[usize]) {
        for label in labels(numbers) {
            self.pool.ready(&label);
            assert!(
                self.pool
                    .decide(self.now())
                    .contains(&Action::Permit(label.clone()))
            );
            self.pool.runs(&label);
        }
    }

    fn ended(&mut self, number: usize) -> String {
        self.pool.ended(&label(number), true, self.now());
        self.after(0)
    }

    fn removed(&mut self, number: usize, removal: Option<Removal>) -> String {
        self.pool.removed(&label(number), removal, self.now());
        self.after(0)
    }
}

#[test]
fn boxes_are_as_many_as_jobs_but_never_more_than_max() {
    let mut bench = Bench::new(3, 0);
    assert_eq!(bench.after(0), "");
    assert_eq!(bench.assigned(2), "start 1, start 2");
    assert_eq!(bench.assigned(9), "start 3");
    assert_eq!(bench.assigned(99), "");
}

#[test]
fn warm_boxes_are_made_as_soon_as_the_service_answers() {
    let mut bench = Bench::new(3, 2);
    assert_eq!(bench.after(HOUR), "");
    assert_eq!(bench.assigned(0), "start 1, start 2");
    assert_eq!(bench.assigned(2), "");
    assert_eq!(bench.assigned(3), "start 3");
}

#[test]
fn configuration_is_permitted_only_after_the_gate() {
    let mut bench = Bench::new(3, 0);
    bench.assigned(1);
    assert_eq!(bench.after(HOUR), "");
    bench.pool.ready(&label(1));
    assert_eq!(bench.after(0), "permit 1");
    assert_eq!(bench.after(0), "");
}

#[test]
fn job_that_ends_ends_its_box() {
    let mut bench = Bench::new(3, 0);
    bench.assigned(1);
    bench.wait(&[1]);
    assert_eq!(bench.news(1, &[1], &[]), "");
    assert_eq!(bench.news(0, &[], &[1]), "");
    assert_eq!(bench.after(29), "");
    assert_eq!(bench.after(1), "end 1");
    assert_eq!(bench.ended(1), "");
    assert_eq!(bench.pool.standing(), Standing::default());
}

#[test]
fn box_too_many_is_taken_from_the_service_before_it_ends() {
    let mut bench = Bench::new(3, 0);
    bench.assigned(2);
    bench.wait(&[1, 2]);
    assert_eq!(bench.assigned(1), "");
    assert_eq!(bench.after(599), "");
    assert_eq!(bench.after(1), "remove 1");
    assert_eq!(bench.removed(1, Some(Removal::Removed)), "end 1");
    assert_eq!(bench.after(600), "");
}

#[test]
fn box_with_a_job_is_not_taken_back() {
    let mut bench = Bench::new(3, 0);
    bench.assigned(2);
    bench.wait(&[1, 2]);
    bench.news(1, &[1], &[]);
    assert_eq!(bench.after(600), "remove 2");
    assert_eq!(bench.removed(2, Some(Removal::Busy)), "");
    assert_eq!(bench.after(HOUR), "");
}

#[test]
fn box_that_the_service_did_not_take_back_is_tried_again() {
    let mut bench = Bench::new(3, 0);
    bench.assigned(1);
    bench.wait(&[1]);
    bench.assigned(0);
    assert_eq!(bench.after(600), "remove 1");
    assert_eq!(bench.removed(1, None), "");
    assert_eq!(bench.pool.next_at(bench.now()), Some(bench.now() + RETRY));
    assert_eq!(bench.after(60), "remove 1");
}

#[test]
fn box_that_is_not_ready_goes_before_one_that_waits() {
    let mut bench = Bench::new(3, 1);
    bench.assigned(1);
    bench.wait(&[1]);
    bench.assigned(2);
    bench.assigned(1);
    assert_eq!(bench.after(600), "end 2");
    assert_eq!(bench.after(600), "");
}

#[test]
fn job_that_comes_back_within_idle_finds_its_box() {
    let mut bench = Bench::new(3, 0);
    bench.assigned(1);
    bench.assigned(0);
    bench.after(599);
    assert_eq!(bench.assigned(1), "");
    assert_eq!(bench.after(599), "");
    assert_eq!(bench.assigned(0), "");
    assert_eq!(bench.after(599), "");
    assert_eq!(bench.after(1), "end 1");
}

#[test]
fn waiting_box_is_replaced_when_half_of_its_time_is_over() {
    let mut bench = Bench::new(2, 1);
    bench.assigned(0);
    bench.wait(&[1]);
    assert_eq!(bench.after(HOUR - 1), "");
    assert_eq!(bench.after(1), "remove 1, start 2");
    assert_eq!(bench.removed(1, Some(Removal::Removed)), "end 1");
}

#[test]
fn box_that_fails_is_waited_for_longer_each_time() {
    let mut bench = Bench::new(9, 0);
    assert_eq!(bench.assigned(2), "start 1, start 2");
    assert_eq!(bench.ended(1), "");
    assert_eq!(bench.ended(2), "");
    assert_eq!(bench.after(59), "");
    assert_eq!(bench.after(1), "start 3");
    // One box shows whether it goes on.
    assert_eq!(bench.after(HOUR), "");
    assert_eq!(bench.ended(3), "");
    assert_eq!(bench.after(119), "");
    assert_eq!(bench.after(1), "start 4");
    bench.wait(&[4]);
    assert_eq!(bench.news(3, &[4], &[]), "start 5, start 6");
}

#[test]
fn box_that_could_not_be_destroyed_counts_and_is_tried_again() {
    let mut bench = Bench::new(1, 0);
    bench.assigned(1);
    bench.wait(&[1]);
    bench.news(1, &[1], &[]);
    bench.pool.ended(&label(1), false, bench.now());
    assert_eq!(bench.after(59), "");
    assert_eq!(bench.after(1), "destroy 1");
    bench.pool.ended(&label(1), false, bench.now());
    assert_eq!(bench.after(60), "destroy 1");
    assert_eq!(bench.ended(1), "start 2");
}

#[test]
fn what_an_earlier_process_left_is_destroyed_and_counts() {
    let mut bench = Bench::new(1, 1);
    bench.pool.leave(label(7), bench.now());
    assert_eq!(bench.assigned(1), "destroy 7");
    assert_eq!(bench.ended(7), "start 1");
}

#[test]
fn box_that_is_resumed_may_have_a_job() {
    let mut bench = Bench::new(3, 0);
    bench
        .pool
        .resume(label(7), Duration::from_secs(HOUR), bench.now());
    assert_eq!(bench.assigned(0), "");
    assert_eq!(bench.after(600), "");
    bench.pool.runs(&label(7));
    // It has half of its time behind it, too.
    assert_eq!(bench.after(0), "remove 7");
    assert_eq!(bench.removed(7, Some(Removal::Busy)), "");
    bench.pool.drain(bench.now());
    assert_eq!(bench.after(0), "");
}

#[test]
fn draining_ends_all_but_jobs_and_those_after_the_grace() {
    let mut bench = Bench::new(5, 0);
    bench.assigned(4);
    bench.wait(&[1, 2]);
    bench.news(4, &[1], &[]);
    bench.pool.ready(&label(3));
    bench.pool.drain(bench.now());
    assert_eq!(bench.after(0), "remove 2, end 3, end 4");
    assert_eq!(bench.removed(2, Some(Removal::Removed)), "end 2");
    for number in [2, 3, 4] {
        assert_eq!(bench.ended(number), "");
    }
    assert_eq!((bench.pool.capacity(), bench.pool.is_over()), (1, false));
    assert_eq!(bench.after(HOUR - 1), "");
    assert_eq!(bench.after(1), "end 1");
    bench.ended(1);
    assert!(bench.pool.is_over());
}

#[test]
fn draining_does_not_wait_for_a_service_that_is_away() {
    let mut bench = Bench::new(5, 0);
    bench.assigned(1);
    bench.wait(&[1]);
    bench.pool.drain(bench.now());
    assert_eq!(bench.after(0), "remove 1");
    assert_eq!(bench.removed(1, None), "");
    assert_eq!(bench.after(60), "remove 1");
    assert_eq!(bench.after(HOUR), "end 1");
}

#[test]
fn caps_hold_back_boxes_that_jobs_want() {
    let mut bench = Bench::new(9, 0);
    let money = |text: &str| model::money::Money::parse(text).unwrap();
    bench.pool.terms.caps = Caps {
        prices: vec![model::price::Price::Hourly {
            amount: money("1 USD"),
            day: String::new(),
            billed: model::price::Billed::BY_SECOND,
        }],
        per_hour: vec![money("3 USD")],
        per_day: vec![money("5 USD")],
    };
    // Two hours each until their deadline.
    assert_eq!(bench.assigned(9), "start 1, start 2");
    bench.pool.spent(vec![money("0.50 USD")]);
    assert_eq!(bench.ended(1), "");
    assert_eq!(bench.after(30), "");
    bench.wait(&[2]);
    bench.pool.news(9, &labels(&[2]), &[], bench.now());
    assert_eq!(bench.ended(2), "start 3, start 4");
    bench.pool.spent(vec![money("3.50 USD")]);
    bench.wait(&[3]);
    bench.news(9, &[3], &[]);
    assert_eq!(bench.ended(3), "");
}

#[test]
fn nothing_spins_when_nothing_can_be_done() {
    let mut bench = Bench::new(1, 0);
    bench.assigned(5);
    bench.wait(&[1]);
    bench.news(5, &[1], &[]);
    for _ in 0..100 {
        let Some(at) = bench.pool.next_at(bench.now()) else {
            return;
        };
        assert!(at > bench.now());
        bench.now = at.as_secs();
        bench.after(0);
    }
    panic!("it wakes up again and again");
}
