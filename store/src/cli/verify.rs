//! `store verify`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use hayloft_store::{Report, verify};
use indicatif::{ProgressBar, ProgressStyle};

use super::numbers::{bytes, counted};

pub(super) fn run(cache: &Path, json: bool, stdout: &mut dyn Write) -> anyhow::Result<ExitCode> {
    // Hidden by indicatif itself where stderr is no terminal.
    let bar = ProgressBar::no_length().with_style(ProgressStyle::with_template(
        "{bar:30} {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left  {wide_msg}",
    )?);
    let report = verify(cache, &mut |progress| {
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.bytes);
        bar.set_message(progress.file.to_owned());
    });
    bar.finish_and_clear();
    let report = report?;
    if json {
        serde_json::to_writer_pretty(&mut *stdout, &report)?;
        writeln!(stdout)?;
    } else {
        print(&report, stdout)?;
    }
    stdout.flush()?;
    Ok(if report.damages.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &Report, stdout: &mut dyn Write) -> std::io::Result<()> {
    for damage in &report.damages {
        let row_group = damage.row_group.map(|index| format!(", row group {index}")).unwrap_or_default();
        writeln!(stdout, "DAMAGED {}{row_group}: {}", damage.file, damage.problem)?;
    }
    let checked = format!(
        "{}, {}, {}",
        counted(report.files, "file"),
        bytes(report.bytes),
        counted(report.row_groups, "row group"),
    );
    if report.damages.is_empty() {
        writeln!(stdout, "whole: {checked} checked")
    } else {
        writeln!(stdout, "{}: {checked} checked", counted(report.damages.len() as u64, "damage"))
    }
}
