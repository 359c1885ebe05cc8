//! Taking secrets out of a plan before it leaves the host.

use converge_model::{Change, Masker, Shown, TextDiff};

/// Masks what `change` shows: every known secret, and, for a sensitive resource, every value.
pub(crate) fn mask(change: &mut Change, masker: &Masker, sensitive: bool) {
    for property in &mut change.properties {
        if sensitive && property.property != "action" {
            for shown in [&mut property.before, &mut property.after] {
                if !matches!(shown, Shown::Absent) {
                    *shown = Shown::Masked;
                }
            }
            property.diff = None;
        }
        for shown in [&mut property.before, &mut property.after] {
            if let Shown::Text(text) | Shown::Unknown(text) = shown {
                *text = masker.mask(text.as_bytes());
            }
        }
        if let Some(TextDiff { unified, .. }) = &mut property.diff {
            *unified = masker.mask(unified.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use converge_model::{PropertyChange, Secret, SecretTable, Verb};

    #[test]
    fn both_sides_of_a_change_and_its_diff_are_masked() {
        let mut table = SecretTable::default();
        table.add(Secret::new("hunter22"));
        let mut change =
            Change::new(Verb::Update).property(PropertyChange::new("line", "old hunter22", "new hunter22"));
        change.properties[0].diff = Some(TextDiff { unified: "-hunter22\n".into(), cut: false });
        mask(&mut change, &Masker::new(&table), false);
        assert!(!format!("{change:?}").contains("hunter22"));
        mask(&mut change, &Masker::default(), true);
        assert_eq!(change.properties[0].before, Shown::Masked);
        assert_eq!(change.properties[0].diff, None);
    }
}
