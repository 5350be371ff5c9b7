//! Colours, markers, hatches and strokes.
//!
//! The hues of the series are Okabe and Ito's, which remain distinct under the common colour vision deficiencies. The
//! dark variants are lighter. All have a contrast of at least 3:1 against their background.

use kuva::prelude::{LineStyle, MarkerShape};

/// The role of a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    First,
    Second,
    Third,
    /// A reference to compare with.
    Reference,
    /// The opposite end of the scale, such as zero ablation.
    Limit,
}

/// The dash pattern of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stroke {
    Solid,
    Dashed,
    Dotted,
    DashDot,
}

/// A CSS variable: name, light value, dark value.
struct Variable(&'static str, &'static str, &'static str);

const SURFACE: Variable = Variable("--plot-surface", "#ffffff", "#14171c");
const TEXT: Variable = Variable("--plot-text", "#1f2328", "#e6e8eb");
const AXIS: Variable = Variable("--plot-axis", "#57606a", "#9aa4af");
const GRID: Variable = Variable("--plot-grid", "#e3e6ea", "#2b3139");
const FIRST: Variable = Variable("--plot-first", "#0072b2", "#56b4e9");
const SECOND: Variable = Variable("--plot-second", "#c04a00", "#f0a33c");
const THIRD: Variable = Variable("--plot-third", "#00795a", "#3fd6a4");
const REFERENCE: Variable = Variable("--plot-reference", "#1f2328", "#e6e8eb");
const LIMIT: Variable = Variable("--plot-limit", "#8a5a83", "#d8a1cf");

/// Declares all variables for a light page.
pub(crate) fn variables_light() -> String {
    declarations(|variable| variable.1)
}

/// Declares all variables for a dark page.
pub(crate) fn variables_dark() -> String {
    declarations(|variable| variable.2)
}

fn declarations(value: fn(&Variable) -> &'static str) -> String {
    let all = [SURFACE, TEXT, AXIS, GRID, FIRST, SECOND, THIRD, REFERENCE, LIMIT];
    let declaration = |variable: &Variable| format!("{}: {};", variable.0, value(variable));
    all.iter().map(declaration).collect::<Vec<_>>().join(" ")
}

impl Variable {
    fn css(&self) -> String {
        format!("var({}, {})", self.0, self.1)
    }
}

impl Ink {
    /// The CSS colour.
    pub(super) fn css(self) -> String {
        match self {
            Self::First => FIRST,
            Self::Second => SECOND,
            Self::Third => THIRD,
            Self::Reference => REFERENCE,
            Self::Limit => LIMIT,
        }
        .css()
    }

    /// The marker shape.
    pub(super) fn marker(self) -> MarkerShape {
        match self {
            Self::First => MarkerShape::Circle,
            Self::Second => MarkerShape::Square,
            Self::Third => MarkerShape::Triangle,
            Self::Reference => MarkerShape::Diamond,
            Self::Limit => MarkerShape::Cross,
        }
    }

    /// An SVG hatch pattern of this colour, distinct for each ink. Its id is unique to the plot.
    pub(super) fn hatch(self, picture: &str) -> Hatch {
        let (name, lines) = match self {
            Self::First => ("first", ""),
            Self::Second => ("second", "M-2,2 l4,-4 M0,8 l8,-8 M6,10 l4,-4"),
            Self::Third => ("third", "M0,4 H8 M4,0 V8"),
            Self::Reference => ("reference", "M0,4 H8"),
            Self::Limit => ("limit", "M4,0 V8"),
        };
        let id = format!("{picture}-hatch-{name}");
        let (colour, surface) = (self.css(), SURFACE.css());
        let definition = format!(
            r#"<pattern id="{id}" patternUnits="userSpaceOnUse" width="8" height="8"><rect width="8" height="8" fill="{colour}"/><path d="{lines}" stroke="{surface}" stroke-width="1.6" fill="none"/></pattern>"#
        );
        Hatch { fill: format!("url(#{id})"), definition }
    }
}

/// A hatched fill.
pub(super) struct Hatch {
    /// Value of the `fill` attribute.
    pub(super) fill: String,
    /// Element of `<defs>`.
    pub(super) definition: String,
}

impl Stroke {
    pub(super) fn line_style(self) -> LineStyle {
        match self {
            Self::Solid => LineStyle::Solid,
            Self::Dashed => LineStyle::Dashed,
            Self::Dotted => LineStyle::Dotted,
            Self::DashDot => LineStyle::DashDot,
        }
    }
}

/// Colours of axes, grid, text and legend.
pub(super) fn theme() -> kuva::prelude::Theme {
    kuva::prelude::Theme {
        background: "none".to_owned(),
        axis_color: AXIS.css(),
        grid_color: GRID.css(),
        tick_color: AXIS.css(),
        text_color: TEXT.css(),
        legend_bg: SURFACE.css(),
        legend_border: GRID.css(),
        font_family: Some("system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif".to_owned()),
        ..kuva::prelude::Theme::light()
    }
}
