//! The columns of each kind of table.

use hayloft_results::{Better, COLUMNS, Column, ColumnTable, DifferenceFigure, Digits, Interval, count, format_number};
use hayloft_runtime::UNDEFINED;

use super::format::{four, percent};
use super::table::{Cell, Figure, Heading, Line, exact};

/// Digits of differences between precisions, which are small.
const EFFECT: Digits = Digits::Significant(2);

/// A metric of a result, or of its subset.
fn value(column: &'static Column) -> Figure<'static> {
    let read = move |line: &Line<'_>| {
        let (columns, kl) = match line.subset {
            Some(own) => (&own.columns, None),
            None => (&line.entry.result.columns, line.entry.result.kl.as_ref()),
        };
        Cell::number(column.text(columns, kl), column.value(columns, kl))
    };
    figure(heading(column), vec![column.name.to_owned()], column.better, read)
}

fn heading(column: &Column) -> Heading {
    Heading { title: column.title, short: column.heading }
}

fn figure<'report>(
    heading: Heading,
    fields: Vec<String>,
    better: Better,
    cell: impl Fn(&Line<'_>) -> Cell + 'report,
) -> Figure<'report> {
    Figure { heading, fields, better, cell: Box::new(cell) }
}

/// A number that is no column of a result.
fn other(title: &'static str, name: &str, cell: impl Fn(&Line<'_>) -> Cell + 'static) -> Figure<'static> {
    figure(Heading { title, short: title }, vec![name.to_owned()], Better::Neither, cell)
}

/// The metrics of the study.
pub(super) fn main() -> Vec<Figure<'static>> {
    Column::of(ColumnTable::Main).map(value).collect()
}

/// How far the fine-tuned SAE comes from the base SAE to the chat SAE.
pub(super) fn gap<'report>(gap: impl Fn(&Line<'_>) -> Option<f64> + 'report) -> Figure<'report> {
    let heading = Heading { title: "EV gap recovered %", short: "EV\ngap %" };
    let fields = vec!["explained_variance_gap_recovered".to_owned()];
    figure(heading, fields, Better::Neither, move |line| Cell::number(percent(gap(line)), gap(line)))
}

/// Reconstructions and latents.
pub(super) fn details() -> Vec<Figure<'static>> {
    let columns = Column::of(ColumnTable::Reconstructions).chain(Column::of(ColumnTable::Latents));
    let mut figures: Vec<Figure<'static>> = columns.map(value).collect();
    let counted = |value: Option<u64>| Cell {
        exact: vec![value.map_or_else(String::new, |value| value.to_string())],
        ..Cell::number(count(value), value.map(|value| value as f64))
    };
    figures.push(other("Latents", "width", move |line| counted(Some(line.entry.result.provenance.sae.width as u64))));
    figures.push(other("Dead", "dead", move |line| counted(line.entry.result.latents.dead)));
    let alive = |line: &Line<'_>| {
        let width = line.entry.result.provenance.sae.width as f64;
        line.entry.result.latents.dead.map(|dead| 1.0 - dead as f64 / width)
    };
    let alive = move |line: &Line<'_>| Cell::number(percent(alive(line)), alive(line));
    figures.push(figure(
        Heading { title: "Alive %", short: "Alive %" },
        vec!["alive_fraction".to_owned()],
        Better::High,
        alive,
    ));
    figures.push(other("Dense", "dense", move |line| counted(line.entry.result.latents.dense)));
    figures
}

/// Divergences, and how they were computed.
pub(super) fn divergences() -> Vec<Figure<'static>> {
    let mut figures: Vec<Figure<'static>> = Column::of(ColumnTable::Divergences).map(value).collect();
    figures.push(other("Method", "kl_method", |line| {
        let label = line.entry.result.kl.as_ref().map(hayloft_results::Kl::label);
        let text = label.clone().unwrap_or_else(|| UNDEFINED.to_owned());
        Cell { exact: vec![label.unwrap_or_default()], ..Cell::number(text, None) }
    }));
    figures
}

/// The metrics of the main table that have intervals, and the compared divergences.
fn uncertain() -> impl Iterator<Item = &'static Column> {
    let is_shown = |column: &&Column| {
        column.depends_on.is_some()
            && (column.table == ColumnTable::Main || (column.table == ColumnTable::Divergences && column.is_compared))
    };
    COLUMNS.iter().filter(is_shown)
}

/// The ends of each interval.
pub(super) fn intervals() -> Vec<Figure<'static>> {
    let interval = |column: &'static Column| {
        let fields = vec![format!("{}_low", column.name), format!("{}_high", column.name)];
        figure(heading(column), fields, Better::Neither, move |line| match line.entry.interval(column.name) {
            Some(Interval { low, high }) => Cell {
                text: ends(column, low, high),
                value: Some(low),
                is_bold: false,
                exact: vec![exact(Some(low)), exact(Some(high))],
            },
            None => Cell::undefined(2),
        })
    };
    uncertain().map(interval).collect()
}

/// Differences from another SAE on the same resamples. One whose interval does not hold zero is bold.
pub(super) fn differences() -> Vec<Figure<'static>> {
    let difference = |column: &'static Column| {
        let fields = ["difference", "low", "high"].map(|end| format!("{}_{end}", column.name)).into();
        figure(heading(column), fields, Better::Neither, move |line| {
            let intervals = line.entry.result.intervals.as_ref();
            let own = intervals.and_then(|own| own.difference.as_ref()?.figures.get(column.name));
            let Some(DifferenceFigure { difference, interval: Interval { low, high } }) = own.copied() else {
                return Cell::undefined(3);
            };
            Cell {
                text: format!("{} {}", signed(column.shown(Some(difference)), column.digits), ends(column, low, high)),
                value: Some(difference),
                is_bold: low > 0.0 || high < 0.0,
                exact: [difference, low, high].map(|value| exact(Some(value))).into(),
            }
        })
    };
    uncertain().filter(|column| column.is_compared).map(difference).collect()
}

/// The effects of a lower precision and of a codec that rounds.
pub(super) fn precision() -> Vec<Figure<'static>> {
    let mut figures = vec![other("Computed in", "precision", |line| {
        let result = &line.entry.result;
        let name = result.compute_effect.as_ref().map_or(result.precision, |effect| effect.precision).to_string();
        Cell { exact: vec![name.clone()], ..Cell::number(name, None) }
    })];
    let effect = |column: &'static Column| {
        figure(heading(column), vec![format!("{}_effect", column.name)], Better::Neither, move |line| {
            let effect = line.entry.result.compute_effect.as_ref();
            let value = effect.and_then(|effect| *effect.figures.get(column.name)?);
            Cell::number(signed(column.shown(value), EFFECT), value)
        })
    };
    figures.extend(Column::of(ColumnTable::Main).filter(|column| column.is_compared).map(effect));
    figures.push(other("Stored as", "codec", |line| {
        let codec = line.entry.result.stored_rounding.map(|rounding| rounding.codec.to_string());
        let text = codec.clone().unwrap_or_else(|| UNDEFINED.to_owned());
        Cell { exact: vec![codec.unwrap_or_default()], ..Cell::number(text, None) }
    }));
    figures.push(other("Relative error", "codec_relative_error", |line| {
        let error = line.entry.result.stored_rounding.map(|rounding| rounding.relative_error);
        Cell::number(format_number(error, Digits::Significant(4)), error)
    }));
    figures.push(other("Clean CE effect", "codec_ce_effect", |line| {
        let effect = line.entry.result.stored_rounding.and_then(|rounding| rounding.ce_effect);
        Cell::number(if effect.is_some() { signed(effect, EFFECT) } else { four(None) }, effect)
    }));
    figures
}

fn ends(column: &Column, low: f64, high: f64) -> String {
    let text = |value| format_number(column.shown(Some(value)), column.digits);
    format!("[{}, {}]", text(low), text(high))
}

/// A difference, with its sign; a dash if undefined.
fn signed(difference: Option<f64>, digits: Digits) -> String {
    let sign = if difference.is_some_and(|difference| !difference.is_sign_negative()) { "+" } else { "" };
    format!("{sign}{}", format_number(difference, digits))
}
