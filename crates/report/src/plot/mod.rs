//! Static SVG plots without scripts, drawn by kuva.
//!
//! Every colour is a CSS variable with a fallback, so that a page can theme an embedded plot (light, dark, print) and a
//! standalone plot still renders correctly. Every plot has a `<title>` and a `<desc>`, and distinguishes series by
//! dash, hatch or marker as well as by colour.

mod bars;
mod lines;
mod picture;
mod scatter;
mod style;
mod training;

pub(crate) use self::bars::{BarGroup, bars};
pub(crate) use self::lines::{Axes, Axis, Join, Series, Threshold, lines};
pub(crate) use self::picture::Caption;
pub(crate) use self::scatter::{Fill, PointSeries, scatter};
pub(crate) use self::style::{Ink, Stroke, variables_dark, variables_light};
pub use self::training::training_curves;
pub(crate) use self::training::{evenly, training_picture};
