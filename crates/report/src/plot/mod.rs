//! Pictures: charts and bars, drawn as vector primitives and written as SVG and as PDF.
//!
//! In a page every colour is a CSS variable with a fallback, so that the page can theme the picture (light, dark,
//! print); a file has plain colours. Every picture has a title and a description, and tells series apart by marker, dash
//! or hatch as well as by colour.

mod axis;
mod bars;
mod chart;
mod drawing;
mod font;
mod legend;
mod pdf;
mod style;
mod svg;
mod training;

pub(crate) use self::axis::Scale;
pub(crate) use self::bars::{Bar, BarGroup, BarScale, bars};
pub(crate) use self::chart::{AxisSpec, Chart, Datum, Join, Level, Series, chart};
pub(crate) use self::drawing::{Caption, Drawing};
pub(crate) use self::style::{Palette, Style, variables_dark, variables_light};
pub use self::training::training_curves;
pub(crate) use self::training::{evenly, training_picture};
