//! A run's report beside its events, in every form that it has.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use model::report::Report;

use super::{
    clean::plain,
    html::html,
    junit::junit,
    markdown::markdown,
    record::{REPORT, write_whole},
    summary,
};

/// Writes the report in every form; returns the path of the page.
pub(crate) fn write(report: &Report, run_dir: &Utf8Path) -> io::Result<Utf8PathBuf> {
    let page = run_dir.join("report.html");
    write_whole(&run_dir.join(REPORT), &serde_json::to_vec_pretty(report)?)?;
    write_whole(
        &run_dir.join("report.txt"),
        plain(&summary::report(report, run_dir)).as_bytes(),
    )?;
    write_whole(&run_dir.join("report.md"), markdown(report).as_bytes())?;
    write_whole(
        &run_dir.join("junit.xml"),
        junit(report).map_err(io::Error::other)?.as_bytes(),
    )?;
    write_whole(&page, html(report).as_bytes())?;
    Ok(page)
}
