//! `twolane runner github` with real boxes, against an emulator of GitHub's service. The runner program is a stand-in, which
//! shows the test what it was started with, and runs until the test says how its job ends.

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use scaleset::{
    JobRequestId, ScaleSetId,
    testing::{DEFAULT_PAT, Emulator, Endpoint},
};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::{Bench, Running, is};

/// How long a box may take, with an image and a template to be made before.
const BOX_MAX: Duration = Duration::from_secs(20 * 60);

/// GitHub, and the way from the boxes to the test.
struct Hub {
    runtime: Runtime,
    emulator: Emulator,
    listener: TcpListener,
}

/// A runner program that runs on a box.
struct Program {
    /// The name that it is registered under: its box's.
    name: String,
    /// The names of what is in its environment.
    variables: Vec<String>,
    stream: BufReader<TcpStream>,
}

impl Hub {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let starting = Emulator::builder().long_poll(Duration::from_millis(100)).start();
        let emulator = runtime.block_on(starting);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self {
            runtime,
            emulator,
            listener,
        }
    }

    /// Makes a project whose boxes have the stand-in.
    fn bench(&self) -> Bench {
        let port = self.listener.local_addr().unwrap().port();
        Bench::new(&format!(
            r#"
[local]
allow = ["127.0.0.1:{port}"]

[lanes.live]
kvm   = "required"
boxes = ["local"]
setup = '''
mkdir -p /opt/actions-runner
cat >/opt/actions-runner/run.sh <<'END'
#!/bin/bash
exec 3<>/dev/tcp/10.0.2.2/{port}
echo "$ACTIONS_RUNNER_INPUT_JITCONFIG" $(compgen -e) >&3
read -r code <&3
exit "$code"
END
chmod 755 /opt/actions-runner/run.sh
'''
checks = [{{ name = "never", run = "false" }}]
"#
        ))
    }

    fn start(&self, bench: &Bench, token: &str) -> Running {
        let url = self.emulator.config_url();
        let arguments = [
            "runner", "github", "--url", &url, "--name", "kvm", "--lane", "live", "--max", "2", "--idle",
            "5s",
        ];
        bench.start_with(&arguments, &[("TWOLANE_GITHUB_TOKEN_FILE", PathBuf::from(token))])
    }

    /// Waits until a process listens to the scale set.
    fn registered(&self) -> ScaleSetId {
        let waiting = self
            .emulator
            .wait_until(Duration::from_secs(120), |state| !state.sessions.is_empty());
        self.runtime.block_on(waiting).scale_sets[0].id
    }

    fn queue(&self, set: ScaleSetId) -> JobRequestId {
        self.emulator.queue_job(set, ["kvm"])
    }

    /// Waits until a runner program runs.
    #[track_caller]
    fn program(&self, runner: &mut Running) -> Program {
        let began = Instant::now();
        let stream = loop {
            match self.listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            let ended = runner.child.try_wait().unwrap();
            assert!(
                ended.is_none() && began.elapsed() < BOX_MAX,
                "no runner program: {ended:?}"
            );
            thread::sleep(Duration::from_millis(50));
        };
        stream.set_nonblocking(false).unwrap();
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let mut words = line.split_whitespace();
        let configuration = STANDARD.decode(words.next().unwrap()).unwrap();
        let configuration: Value = serde_json::from_slice(&configuration).unwrap();
        Program {
            name: configuration["runnerName"].as_str().unwrap().to_owned(),
            variables: words.map(str::to_owned).collect(),
            stream,
        }
    }
}

impl Program {
    /// Ends the program.
    fn end(mut self) {
        self.stream.get_mut().write_all(b"0\n").unwrap();
    }
}

/// Reads events until the box is gone.
#[track_caller]
fn until_gone(runner: &mut Running, name: &str) {
    let is_gone = |event: &Value| is(event, "machine-gone") && event["label"] == name;
    if !runner.seen.iter().any(is_gone) {
        runner.until(&format!("box {name} is gone"), is_gone);
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "the figure is shown")]
fn jobs_run_on_boxes_and_survive_the_process() {
    let hub = Hub::new();
    let bench = hub.bench();
    let token = bench.project().join("token");
    fs::write(&token, DEFAULT_PAT).unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let token = token.to_str().unwrap();
    let mut runner = hub.start(&bench, token);
    let set = hub.registered();

    // Two jobs at once: a box each, whose gate has passed.
    let jobs = [hub.queue(set), hub.queue(set)];
    let programs = [hub.program(&mut runner), hub.program(&mut runner)];
    for (job, program) in jobs.iter().zip(&programs) {
        hub.emulator.start_job(*job, Some(&program.name));
        let has_passed = |event: &Value| is(event, "gate") && event["answer"]["works"] == true;
        let of_box = |event: &&Value| event["lane"] == program.name.as_str();
        if !runner.seen.iter().filter(of_box).any(has_passed) {
            runner.until("the gate has passed", |event| of_box(&event) && has_passed(event));
        }
        // Nothing of the operator's but the configuration.
        let ours =
            |name: &&String| name.contains("TWOLANE") || name.contains("GITHUB") || name.contains("TOKEN");
        assert_eq!(
            program.variables.iter().find(ours),
            None,
            "{:?}",
            program.variables
        );
    }
    let [first, second] = programs;
    assert_ne!(first.name, second.name);
    hub.emulator.complete_job(jobs[0], None);
    let name = first.name.clone();
    first.end();
    until_gone(&mut runner, &name);

    // The process is killed in the middle of a job. The next follows the job, and serves others beside it.
    runner.signal("KILL");
    runner.finish();
    hub.emulator.expire_session(set);
    let mut runner = hub.start(&bench, token);
    let goes_on = format!("box {} of an earlier process goes on", second.name);
    runner.until("the box goes on", |event| {
        event["text"].as_str().is_some_and(|text| text.contains(&goes_on))
    });
    let (queued, cancelled) = (Instant::now(), hub.queue(set));
    let third = hub.program(&mut runner);
    eprintln!("from a queued job to its program: {:.1?}", queued.elapsed());
    hub.emulator.start_job(cancelled, Some(&third.name));
    hub.emulator.complete_job(cancelled, Some("canceled"));
    // Its program hangs, and its box goes all the same.
    until_gone(&mut runner, &third.name);
    hub.emulator.complete_job(jobs[1], None);
    let name = second.name.clone();
    second.end();
    until_gone(&mut runner, &name);

    // A job that is cancelled before its box is there leaves none.
    let early = hub.queue(set);
    let tried = runner.until("a box is asked for", |event| is(event, "candidate-tried"));
    hub.emulator.complete_job(early, None);
    until_gone(&mut runner, tried["lane"].as_str().unwrap());

    runner.signal("TERM");
    let (status, events) = runner.finish();
    assert_eq!(status.code(), Some(0), "{:?}", events.last());
    assert!(hub.emulator.requests_to(Endpoint::GenerateJitConfig).len() >= 3);
    assert!(hub.emulator.state().sessions.is_empty());
    bench.assert_nothing_left();
}
