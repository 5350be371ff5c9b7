//! Selects the rows of a stream.

use hayloft_store::Section;

use crate::outliers::{OutlierRule, Verdict};
use crate::rows::{Rows, ShardRows};

/// A row filter by section, token, outlier rule and sequence.
#[derive(Debug, Clone)]
pub struct RowFilter {
    rows: Rows,
    rule: OutlierRule,
    /// First held-out sequence id.
    held_out_from: Option<u64>,
}

impl RowFilter {
    /// Keeps those of `rows` that `rule` keeps.
    pub fn new(rows: Rows, rule: OutlierRule) -> Self {
        Self { rows, rule, held_out_from: None }
    }

    /// Also drops the sequences with ids from `first` on.
    #[must_use]
    pub fn holding_out_from(self, first: u64) -> Self {
        Self { held_out_from: Some(first), ..self }
    }

    /// Whether a sequence is not held out.
    pub fn trains_on(&self, sequence: u64) -> bool {
        self.held_out_from.is_none_or(|first| sequence < first)
    }

    /// Whether a row of a shard is kept, ignoring held-out sequences.
    pub fn keeps(&self, rows: &ShardRows, row: usize) -> bool {
        self.judge(rows.sections[row], rows.tokens[row], rows.norms[row]) == Some(Verdict::Kept)
    }

    /// Judges a row by section, token and norm (in the model's space). `None` if its section is not selected.
    pub fn judge(&self, section: Section, token: u32, norm: f32) -> Option<Verdict> {
        let is_wanted = self.rows.has_section(section);
        is_wanted.then(|| self.rule.judge_row(f64::from(norm), self.rows.excluded.contains(token)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exclusion::{ExcludeChoice, Excluded};
    use crate::section_choice::SectionChoice;

    fn filter(sections: &[Section], excluded: &[u32], threshold: Option<f64>) -> RowFilter {
        let sections = sections.iter().map(|section| SectionChoice::Only(*section)).collect();
        let excluded = Excluded::new(ExcludeChoice::Bos, excluded);
        RowFilter::new(Rows::new(sections, excluded), OutlierRule::above(threshold))
    }

    #[test]
    fn sections_add_up_and_outliers_go() {
        let two = filter(&[Section::Rollout, Section::Bos], &[], Some(5.0));
        let kept = Some(Verdict::Kept);
        assert!(two.judge(Section::Rollout, 9, 5.0) == kept && two.judge(Section::Bos, 0, 1.0) == kept);
        assert_eq!(two.judge(Section::Text, 9, 1.0), None);
        assert_eq!(two.judge(Section::Rollout, 9, 5.1), Some(Verdict::Outlier));
        let all = filter(&[], &[], None);
        assert_eq!(all.judge(Section::Text, 9, 1e30), kept);
        assert_eq!(all.judge(Section::Text, 9, f32::NAN), Some(Verdict::NonFinite));
    }

    #[test]
    fn tokens_are_left_out_wherever_they_stand_and_are_no_outliers() {
        let filter = filter(&[], &[0, 7], Some(5.0));
        assert_eq!(filter.judge(Section::Bos, 0, 1e4), Some(Verdict::Excluded));
        assert_eq!(filter.judge(Section::Text, 7, 1.0), Some(Verdict::Excluded));
        assert_eq!(filter.judge(Section::Text, 8, 1.0), Some(Verdict::Kept));
    }
}
