//! Which rows are trained on.

use hayloft_rows::{OutlierRule, Rows, ShardRows, Verdict};
use hayloft_store::Section;

/// Rows of some sections and tokens that are no outliers.
#[derive(Debug, Clone)]
pub(crate) struct RowFilter {
    rows: Rows,
    rule: OutlierRule,
    /// Sequences from this id on are held out.
    held_out_from: Option<u64>,
}

impl RowFilter {
    /// Those of these rows that the rule keeps.
    pub(crate) fn new(rows: Rows, rule: OutlierRule) -> Self {
        Self { rows, rule, held_out_from: None }
    }

    /// The same without the rows of sequences from an id on.
    pub(crate) fn holding_out_from(self, first: u64) -> Self {
        Self { held_out_from: Some(first), ..self }
    }

    /// Whether a sequence may be trained on.
    pub(super) fn trains_on(&self, sequence: u64) -> bool {
        self.held_out_from.is_none_or(|first| sequence < first)
    }

    /// Whether a row of a shard is kept, whether its sequence is trained on or not.
    pub(super) fn keeps(&self, rows: &ShardRows, row: usize) -> bool {
        self.judge(rows.sections[row], rows.tokens[row], rows.norms[row]) == Some(Verdict::Kept)
    }

    /// What becomes of a row of this section, token and norm, in the model's own space; `None` where its section is not asked for.
    pub(super) fn judge(&self, section: Section, token: u32, norm: f32) -> Option<Verdict> {
        let is_wanted = self.rows.has_section(section);
        is_wanted.then(|| self.rule.judge_row(f64::from(norm), self.rows.excluded.contains(token)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hayloft_rows::SectionChoice;
    use hayloft_rows::{ExcludeChoice, Excluded};

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
