//! Colours, marker shapes and dashes.
//!
//! The hues of the series follow Okabe and Ito's, which remain distinct under the common colour vision deficiencies. The
//! dark variants are lighter. All have a contrast of at least 3:1 against their background.

/// The role of a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    Surface,
    Text,
    Axis,
    Grid,
    First,
    Second,
    Third,
    Fourth,
    Fifth,
    Sixth,
    /// A reference to compare with.
    Reference,
    /// The opposite end of the scale, such as zero ablation.
    Limit,
}

/// The shape of a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
    TriangleDown,
    Pentagon,
}

/// The dash pattern of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stroke {
    Solid,
    Dashed,
    Dotted,
    DashDot,
    LongDash,
    DashDotDot,
}

/// The look of a series. Colour and shape both tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) ink: Ink,
    pub(crate) shape: Shape,
    pub(crate) stroke: Stroke,
    pub(crate) is_hollow: bool,
}

/// Whether a picture takes the colours of the page around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Palette {
    /// CSS variables, which a page sets for light, dark and print.
    Page,
    /// The light colours themselves.
    Plain,
}

impl Style {
    const INKS: [Ink; 6] = [Ink::First, Ink::Second, Ink::Third, Ink::Fourth, Ink::Fifth, Ink::Sixth];
    const SHAPES: [Shape; 6] =
        [Shape::Circle, Shape::Square, Shape::Triangle, Shape::Diamond, Shape::TriangleDown, Shape::Pentagon];
    const STROKES: [Stroke; 6] =
        [Stroke::Solid, Stroke::Dashed, Stroke::DashDot, Stroke::Dotted, Stroke::LongDash, Stroke::DashDotDot];

    /// The number of series that differ in colour.
    pub(crate) const COLOURS: usize = Self::INKS.len();

    /// The look of the series at a place. The first 72 differ from each other; of these, the first six differ in colour.
    pub(crate) fn of(place: usize) -> Self {
        let (own, turn) = (place % Self::COLOURS, place / Self::COLOURS);
        let shifted = (own + turn / 2) % Self::COLOURS;
        Self {
            ink: Self::INKS[own],
            shape: Self::SHAPES[shifted],
            stroke: Self::STROKES[(own + turn) % Self::COLOURS],
            is_hollow: turn % 2 == 1,
        }
    }

    /// A reference, such as the clean run.
    pub(crate) const REFERENCE: Self =
        Self { ink: Ink::Reference, shape: Shape::Diamond, stroke: Stroke::Solid, is_hollow: true };

    /// A limit, such as zero ablation.
    pub(crate) const LIMIT: Self =
        Self { ink: Ink::Limit, shape: Shape::TriangleDown, stroke: Stroke::Dotted, is_hollow: true };
}

impl Ink {
    const ALL: [Self; 12] = [
        Self::Surface,
        Self::Text,
        Self::Axis,
        Self::Grid,
        Self::First,
        Self::Second,
        Self::Third,
        Self::Fourth,
        Self::Fifth,
        Self::Sixth,
        Self::Reference,
        Self::Limit,
    ];

    /// Name of the CSS variable, and its value on a light and on a dark page.
    fn variable(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Surface => ("--plot-surface", "#ffffff", "#14171c"),
            Self::Text => ("--plot-text", "#1f2328", "#e6e8eb"),
            Self::Axis => ("--plot-axis", "#57606a", "#9aa4af"),
            Self::Grid => ("--plot-grid", "#e3e6ea", "#2b3139"),
            Self::First => ("--plot-first", "#0072b2", "#56b4e9"),
            Self::Second => ("--plot-second", "#c04a00", "#f0a33c"),
            Self::Third => ("--plot-third", "#00795a", "#3fd6a4"),
            Self::Fourth => ("--plot-fourth", "#a83279", "#f08cc8"),
            Self::Fifth => ("--plot-fifth", "#7a6200", "#e3cf4d"),
            Self::Sixth => ("--plot-sixth", "#5c4fb3", "#b3a7f7"),
            Self::Reference => ("--plot-reference", "#1f2328", "#e6e8eb"),
            Self::Limit => ("--plot-limit", "#6b6f76", "#a4a9b0"),
        }
    }

    /// The colour as SVG has it.
    pub(super) fn css(self, palette: Palette) -> String {
        let (name, light, _) = self.variable();
        match palette {
            Palette::Page => format!("var({name}, {light})"),
            Palette::Plain => light.to_owned(),
        }
    }

    /// The light colour, red, green and blue from 0 to 1.
    pub(super) fn rgb(self) -> [f64; 3] {
        let digits = self.variable().1.trim_start_matches('#');
        let number = u32::from_str_radix(digits, 16).unwrap_or(0);
        [number >> 16, (number >> 8) & 0xff, number & 0xff].map(|part| f64::from(part) / 255.0)
    }
}

impl Stroke {
    /// Lengths of dashes and gaps, in turn; empty for a solid line.
    pub(super) fn dashes(self) -> &'static [f64] {
        match self {
            Self::Solid => &[],
            Self::Dashed => &[7.0, 4.0],
            Self::Dotted => &[2.0, 3.0],
            Self::DashDot => &[8.0, 3.0, 2.0, 3.0],
            Self::LongDash => &[14.0, 4.0],
            Self::DashDotDot => &[8.0, 3.0, 2.0, 3.0, 2.0, 3.0],
        }
    }
}

/// Declares all variables for a light page.
pub(crate) fn variables_light() -> String {
    declarations(|(_, light, _)| light)
}

/// Declares all variables for a dark page.
pub(crate) fn variables_dark() -> String {
    declarations(|(_, _, dark)| dark)
}

fn declarations(value: fn((&'static str, &'static str, &'static str)) -> &'static str) -> String {
    let declaration = |ink: Ink| format!("{}: {};", ink.variable().0, value(ink.variable()));
    Ink::ALL.map(declaration).join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_differ_in_colour_and_shape_and_later_ones_in_one_of_them() {
        let looks: Vec<Style> = (0..72).map(Style::of).collect();
        for (place, one) in looks.iter().enumerate() {
            for (other, two) in looks.iter().enumerate().skip(place + 1) {
                let marker = |style: &Style| (style.ink, style.shape, style.is_hollow);
                assert_ne!(marker(one), marker(two), "{place} and {other}");
                if other < Style::COLOURS {
                    assert!(one.ink != two.ink && one.shape != two.shape && one.stroke != two.stroke);
                }
            }
        }
    }
}
