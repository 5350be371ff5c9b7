//! Axes: scales that fit the data, and round ticks.

/// The scale of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    Logarithmic,
}

/// An axis: a range of values on a range of the drawing.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    scale: Scale,
    /// Values, or their logarithms.
    range: (f64, f64),
    /// The same in the drawing.
    span: (f64, f64),
}

/// The margin between the data and either end, relative to the length.
const MARGIN: f64 = 0.045;

/// About the number of ticks of an axis.
const TICKS: f64 = 6.0;

impl Axis {
    /// Fits an axis to values; `None` if there are none. Values that are not finite, or have no place on a logarithmic
    /// scale, do not count.
    pub(super) fn fit(scale: Scale, values: impl Iterator<Item = f64>, span: (f64, f64)) -> Option<Self> {
        let (low, high) = values
            .filter_map(|value| scale.of(value))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return None;
        }
        let length = high - low;
        let margin = match scale {
            _ if length > 0.0 => MARGIN * length,
            Scale::Linear if low == 0.0 => 1.0,
            Scale::Linear => 0.1 * low.abs(),
            Scale::Logarithmic => 0.3,
        };
        Some(Self { scale, range: (low - margin, high + margin), span })
    }

    /// Starts the axis at a value, without a margin.
    pub(super) fn from(mut self, low: f64) -> Self {
        if let Some(low) = self.scale.of(low) {
            self.range.0 = low;
        }
        self
    }

    /// The place of a value in the drawing; `None` if it has none.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        let share = (self.scale.of(value)? - self.range.0) / (self.range.1 - self.range.0);
        Some(self.span.0 + share * (self.span.1 - self.span.0))
    }

    /// Values of ticks, with their labels.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let (low, high) = self.range;
        if self.scale == Scale::Linear {
            return linear(low, high);
        }
        let powers: Vec<i32> = (low.floor() as i32..=high.ceil() as i32).collect();
        // Every few powers of ten on a long axis; more digits of each on a short one.
        let stride = (powers.len() as f64 / TICKS).ceil().max(1.0) as i32;
        let few: [&[f64]; 3] = [&[1.0], &[1.0, 2.0, 5.0], &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0]];
        for digits in few {
            let chosen = powers.iter().filter(|power| **power % stride == 0);
            let values = chosen.flat_map(|power| digits.iter().map(move |digit| digit * 10_f64.powi(*power)));
            let inside: Vec<f64> = values.filter(|value| (low..=high).contains(&value.log10())).collect();
            if inside.len() >= 3 {
                return inside.into_iter().map(|value| (value, tick(value, value))).collect();
            }
        }
        linear(10_f64.powf(low), 10_f64.powf(high))
    }
}

impl Scale {
    /// The value, or its logarithm; `None` if it has no place.
    fn of(self, value: f64) -> Option<f64> {
        let scaled = if self == Self::Logarithmic { value.log10() } else { value };
        scaled.is_finite().then_some(scaled)
    }

    /// Whether a value has a place.
    pub(super) fn has(self, value: f64) -> bool {
        self.of(value).is_some()
    }

    /// Logarithmic if positive values differ by more than a factor of five.
    pub(crate) fn for_counts(values: impl Iterator<Item = f64> + Clone) -> Self {
        let (low, high) = (values.clone().fold(f64::INFINITY, f64::min), values.fold(0.0, f64::max));
        if low > 0.0 && high > 5.0 * low { Self::Logarithmic } else { Self::Linear }
    }
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn linear(low: f64, high: f64) -> Vec<(f64, String)> {
    let rough = (high - low) / TICKS;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    (first..=last).map(|count| count as f64 * step).map(|value| (value, tick(value, step))).collect()
}

/// Formats a tick with the digits that its step needs, and a suffix from ten thousand on.
fn tick(value: f64, step: f64) -> String {
    let size = value.abs();
    let (unit, letter) = match size {
        _ if size < step / 2.0 => return "0".to_owned(),
        _ if size < 1e-4 => return format!("{value:e}"),
        _ if size >= 1e9 => (1e9, "G"),
        _ if size >= 1e6 => (1e6, "M"),
        _ if size >= 1e4 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let digits = (0..=9_usize).find(|digits| {
        let shifted = step / unit * 10_f64.powi(*digits as i32);
        (shifted - shifted.round()).abs() < 1e-6 * shifted
    });
    let minus = if value < 0.0 { "−" } else { "" };
    format!("{minus}{:.*}{letter}", digits.unwrap_or(2), size / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, low: f64, high: f64) -> Vec<String> {
        let axis = Axis::fit(scale, [low, high].into_iter(), (0.0, 100.0)).unwrap();
        axis.ticks().into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_and_as_short_as_their_step_allows() {
        assert_eq!(labels(Scale::Linear, 97.0, 100.0), ["97", "98", "99", "100"]);
        assert_eq!(labels(Scale::Linear, 98.9, 99.4), ["98.9", "99.0", "99.1", "99.2", "99.3", "99.4"]);
        assert_eq!(labels(Scale::Linear, -2600.0, 100.0), ["−2500", "−2000", "−1500", "−1000", "−500", "0"]);
        assert_eq!(labels(Scale::Linear, 0.0, 2.5e6), ["0", "500k", "1.0M", "1.5M", "2.0M", "2.5M"]);
        assert_eq!(labels(Scale::Logarithmic, 1.0, 1000.0), ["1", "10", "100", "1000"]);
        assert_eq!(labels(Scale::Logarithmic, 16.0, 200.0), ["20", "50", "100", "200"]);
        assert_eq!(labels(Scale::Logarithmic, 1e-8, 1.0).len(), 5);
    }

    #[test]
    fn everything_has_its_place_inside() {
        for (scale, values) in [
            (Scale::Linear, vec![3.0]),
            (Scale::Linear, vec![0.0]),
            (Scale::Linear, vec![-5.0, 12.0, f64::NAN]),
            (Scale::Logarithmic, vec![0.0, 7.0]),
            (Scale::Logarithmic, vec![2.0, 2e6]),
        ] {
            let axis = Axis::fit(scale, values.iter().copied(), (300.0, 10.0)).unwrap();
            for value in values.into_iter().filter(|value| scale.of(*value).is_some()) {
                let place = axis.place(value).unwrap();
                assert!((15.0..295.0).contains(&place), "{value} on {axis:?}: {place}");
            }
            assert!(!axis.ticks().is_empty(), "{axis:?}");
        }
        assert!(Axis::fit(Scale::Logarithmic, [0.0, -1.0, f64::NAN].into_iter(), (0.0, 1.0)).is_none());
    }
}
