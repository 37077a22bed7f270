//! Prints errors: text on standard error, and a JSON document under `--json`.

use anstream::ColorChoice;
use anstyle::AnsiColor;
use miette::{GraphicalReportHandler, GraphicalTheme};

use super::stream::Style;
use crate::{exit::Exit, problem::Problem};

/// Reports a problem, and returns the exit code that it becomes.
pub(crate) fn show(style: Style, problem: &Problem) -> Exit {
    let text = if problem.drawn.is_empty() {
        problem.text()
    } else {
        let drawn: String = problem
            .drawn
            .iter()
            .map(|drawn| draw(style, drawn.as_ref()))
            .collect();
        format!("{}\n{drawn}", problem.headline())
    };
    let red = AnsiColor::Red.on_default().bold();
    let text = text.replacen("error", &format!("{red}error{red:#}"), 1);
    style.message(text.trim_end());
    if style.is_json {
        // One line: it may come after events.
        style.line(problem);
    }
    problem.exit
}

fn draw(style: Style, drawn: &dyn miette::Diagnostic) -> String {
    let theme = match style.color {
        ColorChoice::Never => GraphicalTheme::unicode_nocolor(),
        _ if style.has_color_on_stderr() => GraphicalTheme::unicode(),
        _ => GraphicalTheme::unicode_nocolor(),
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(100)
        .with_context_lines(1)
        .with_links(false);
    let mut text = String::new();
    match handler.render_report(&mut text, drawn) {
        Ok(()) => text,
        Err(_) => format!("error: {drawn}"),
    }
}
