//! Waits while cloud-init prepares the box, telling each of its steps, and asks the KVM gate at the end.

use std::time::Duration;

use model::{
    event::{Event, Step},
    gate::{self, judge},
    limits::show_bytes,
    order::OperatorToolchain,
    render::{GATE_ANSWER_PATH, STAGE1_LOG_PATH, toolchain_path},
    stage1::{Answer, Failure, Said, Standing, StatusLine, standing},
    world::Command,
};

use crate::{
    lane::{Lane, Refusal},
    link::Link,
    open::tool,
    time::Limit,
};

/// How long stage 1 may take: an emulated box that installs and builds everything needs a good part of it.
const STAGE1_MAX: Duration = Duration::from_secs(60 * 60);

/// How much it may say of its steps, in bytes: each line of it is an event. It says some kB.
const SAID_MAX: usize = 1 << 20;

/// How much is read of a log's end and of the gate's answer, which are repeated in the report.
const SHOWN_MAX: usize = 64 << 10;

/// How long one question may wait on the box, in seconds.
const POLL_SECONDS: &str = "20";

/// Follows stage 1 to its end, sends what it waits for, and refuses a box whose `/dev/kvm` will not do.
pub(crate) async fn stage1(lane: &Lane<'_>, link: &Link) -> Result<(), Refusal> {
    let lines = follow(lane, link).await?;
    let is_waiting = |line: &StatusLine| matches!(&line.said, Said::Skipped(step, why) if step == "toolchain" && why.starts_with("waiting"));
    if let Some(toolchain) = &lane.plan.toolchain
        && lines.iter().any(is_waiting)
    {
        send_toolchain(lane, link, toolchain).await?;
    }
    ask_gate(lane, link).await
}

async fn follow(lane: &Lane<'_>, link: &Link) -> Result<Vec<StatusLine>, Refusal> {
    let end = Limit::after(&*lane.world.clock, STAGE1_MAX);
    let mut lines = Vec::new();
    let (mut reported, mut said) = (0, 0);
    loop {
        let question = tool([
            "wait-stage1".to_owned(),
            reported.to_string(),
            POLL_SECONDS.to_owned(),
        ]);
        let text = link
            .run(lane.world, &question)
            .await
            .map_err(Refusal::of_candidate)?;
        said += text.len();
        if said > SAID_MAX {
            let most = show_bytes(SAID_MAX as u64);
            return Err(Refusal::of_candidate(format!(
                "stage 1 says more than {most} of its steps"
            )));
        }
        let answer = Answer::parse(&String::from_utf8_lossy(&text));
        reported += answer.line_count;
        answer
            .lines
            .iter()
            .filter_map(StatusLine::event)
            .for_each(|event| lane.emit(event));
        lines.extend(answer.lines);
        match standing(&lines, answer.cloud_init.as_ref()) {
            Standing::Ready(errors) => {
                errors
                    .iter()
                    .for_each(|error| lane.notice(format!("cloud-init could live with an error: {error}")));
                return Ok(lines);
            }
            Standing::Failed(failure) => return Err(failed(lane, link, failure).await),
            Standing::Running(step) if end.is_over(&*lane.world.clock) => {
                let step = step.unwrap_or_else(|| "cloud-init".to_owned());
                let reason = format!("it still ran after {} minutes", STAGE1_MAX.as_secs() / 60);
                return Err(failed(lane, link, Failure { step, reason }).await);
            }
            Standing::Running(_) => {}
        }
    }
}

/// Says why stage 1 failed, with the end of the log. A lane that needs KVM may do better with another candidate.
async fn failed(lane: &Lane<'_>, link: &Link, failure: Failure) -> Refusal {
    if failure.step == "gate" {
        // The answer itself is worth more than that it was no.
        return match ask_gate(lane, link).await {
            Err(refusal) => refusal,
            Ok(()) => Refusal::of_candidate(failure),
        };
    }
    let log = if failure.step == "cloud-init" {
        "/var/log/cloud-init-output.log"
    } else {
        STAGE1_LOG_PATH
    };
    let tail = link
        .run(
            lane.world,
            &Command::new(["tail", "-n", "15", log]).answering(SHOWN_MAX),
        )
        .await;
    let tail = tail
        .map(|text| String::from_utf8_lossy(&text).trim_end().to_owned())
        .unwrap_or_default();
    let why = if tail.is_empty() {
        failure.to_string()
    } else {
        format!("{failure}\nthe end of {log}:\n{tail}")
    };
    Refusal::new(why).help(format!("the whole log is in {}/logs", lane.dir()))
}

async fn send_toolchain(lane: &Lane<'_>, link: &Link, toolchain: &OperatorToolchain) -> Result<(), Refusal> {
    let broken = |error| {
        Refusal::new(format!(
            "could not copy the operator's toolchain to the box: {error}"
        ))
    };
    let progress = &lane.progress(Step::Stage1);
    let to = &toolchain_path(&toolchain.key);
    for part in ["bin", "lib", "libexec"] {
        let (from, to) = (&toolchain.sysroot.join(part), &format!("{to}/{part}"));
        link.over(lane.world, |session| async move {
            session.send_dir(from, to, progress).await
        })
        .await
        .map_err(broken)?;
    }
    if !toolchain.programs.is_empty() {
        let (from, to) = (&toolchain.programs, &format!("{to}/bin"));
        link.over(lane.world, |session| async move {
            session.send_files(from, to, progress).await
        })
        .await
        .map_err(broken)?;
    }
    link.run(lane.world, &tool(["link-toolchain", &toolchain.key]))
        .await
        .map(drop)
        .map_err(broken)
}

async fn ask_gate(lane: &Lane<'_>, link: &Link) -> Result<(), Refusal> {
    let output = link
        .output(
            lane.world,
            &Command::new(["cat", GATE_ANSWER_PATH]).answering(SHOWN_MAX),
        )
        .await
        .map_err(Refusal::of_candidate)?;
    if output.code != Some(0) {
        return match lane.lane.need.is_needed() {
            true => Err(Refusal::of_candidate("the KVM gate gave no answer")),
            false => Ok(()),
        };
    }
    let answer = gate::parse(&String::from_utf8_lossy(&output.stdout)).map_err(Refusal::of_candidate)?;
    lane.emit(Event::Gate {
        answer: answer.clone(),
    });
    judge(lane.lane.need, &answer).map_err(Refusal::of_candidate)
}
