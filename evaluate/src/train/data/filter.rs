//! Which rows are trained on.

use hayloft_store::Section;

use crate::outliers::{OutlierRule, Verdict};
use crate::section_choice::SectionChoice;

/// Rows of some sections that are no outliers.
#[derive(Debug, Clone)]
pub(in crate::train) struct RowFilter {
    sections: Vec<SectionChoice>,
    rule: OutlierRule,
    /// Sequences from this id on are held out.
    held_out_from: Option<u64>,
}

impl RowFilter {
    /// Rows of any of these sections (of all, where there is none) that the rule keeps.
    pub(in crate::train) fn new(sections: Vec<SectionChoice>, rule: OutlierRule) -> Self {
        Self { sections, rule, held_out_from: None }
    }

    /// The same without the rows of sequences from an id on.
    pub(in crate::train) fn holding_out_from(self, first: u64) -> Self {
        Self { held_out_from: Some(first), ..self }
    }

    /// Whether a sequence may be trained on.
    pub(super) fn trains_on(&self, sequence: u64) -> bool {
        self.held_out_from.is_none_or(|first| sequence < first)
    }

    /// Whether a row of this section and this norm, in the model's own units, is trained on.
    pub(super) fn keeps(&self, section: Section, norm: f32) -> bool {
        let wanted = self.sections.is_empty() || self.sections.iter().any(|choice| choice.contains(section));
        wanted && self.rule.judge(f64::from(norm)) == Verdict::Kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_add_up_and_outliers_go() {
        let rule = OutlierRule::new(Some(10.0), 2.0);
        let two = RowFilter::new(vec![SectionChoice::Only(Section::Rollout), SectionChoice::Only(Section::Bos)], rule);
        assert!(two.keeps(Section::Rollout, 5.0) && two.keeps(Section::Bos, 1.0));
        assert!(!two.keeps(Section::Text, 1.0) && !two.keeps(Section::Rollout, 5.1));
        let all = RowFilter::new(Vec::new(), OutlierRule::new(None, 1.0));
        assert!(all.keeps(Section::Text, 1e30) && !all.keeps(Section::Text, f32::NAN));
    }
}
