//! `store verify`.

use std::io::Write;
use std::path::Path;

use anyhow::bail;
use hayloft_store::{Report, verify};
use indicatif::{ProgressBar, ProgressStyle};

use super::numbers::{bytes, counted};

pub(super) fn run(cache: &Path, json: bool, stdout: &mut dyn Write) -> anyhow::Result<()> {
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
    let printed = if json { print_json(&report, stdout) } else { print(&report, stdout) };
    // Said even where nobody reads the list to its end.
    if !report.damages.is_empty() {
        bail!("{}: not whole: {}", cache.display(), counted(report.damages.len() as u64, "damage"));
    }
    Ok(printed?)
}

fn print_json(report: &Report, stdout: &mut dyn Write) -> std::io::Result<()> {
    serde_json::to_writer_pretty(&mut *stdout, report)?;
    writeln!(stdout)?;
    stdout.flush()
}

fn print(report: &Report, stdout: &mut dyn Write) -> std::io::Result<()> {
    for damage in &report.damages {
        writeln!(stdout, "DAMAGED {}", damage.problem)?;
    }
    let checked = format!(
        "{}, {}, {}",
        counted(report.files, "file"),
        bytes(report.bytes),
        counted(report.row_groups, "row group"),
    );
    let verdict = match report.damages.len() as u64 {
        0 => "whole".to_owned(),
        damages => counted(damages, "damage"),
    };
    writeln!(stdout, "{verdict}: {checked} checked")?;
    stdout.flush()
}
