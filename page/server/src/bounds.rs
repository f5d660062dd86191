//! Length limits for the texts and lists of a workload on the page.
//!
//! Names, annotations and the API server's messages are written by users and other programs, and can have hundreds of
//! kilobytes. The page is for people, so long texts and lists are truncated.

use ebb_page_model::{Detail, Workload};

/// Maximum length of a text in bytes. A Kubernetes name has at most 253 characters
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>), and an explanation fewer than 1 000.
const TEXT: usize = 1_000;
/// Maximum number of entries in one list of a workload's page, for example of its pods without metrics. A person reads
/// fewer entries.
const LIST: usize = 100;

/// Truncates the long texts and lists of a workload.
pub(crate) fn workload(workload: &mut Workload) {
    for name in [
        &mut workload.namespace,
        &mut workload.kind,
        &mut workload.group,
        &mut workload.name,
    ] {
        text(name);
    }
    for reason in [&mut workload.not_scaled, &mut workload.reason] {
        reason.iter_mut().for_each(text);
    }
    for names in [&mut workload.services, &mut workload.without_metrics] {
        names.truncate(LIST);
        names.iter_mut().for_each(text);
    }
    workload.counted_at.truncate(LIST);
    for counted_at in &mut workload.counted_at {
        for word in [
            &mut counted_at.hop,
            &mut counted_at.reason,
            &mut counted_at.text,
        ] {
            text(word);
        }
        counted_at.advice.iter_mut().for_each(text);
    }
    workload.not_counted.truncate(LIST);
    for not_counted in &mut workload.not_counted {
        text(&mut not_counted.pod);
        text(&mut not_counted.why);
    }
    if let Some(scaled) = &mut workload.scaled {
        text(&mut scaled.reason);
        scaled.error.iter_mut().for_each(text);
    }
}

/// Truncates the long texts and lists of a workload's details.
pub(crate) fn detail(detail: &mut Detail) {
    workload(&mut detail.workload);
    detail.settings.truncate(LIST);
    for setting in &mut detail.settings {
        text(&mut setting.value);
    }
    for decision in &mut detail.decisions {
        text(&mut decision.reason);
    }
}

fn text(text: &mut String) {
    if text.len() > TEXT {
        text.truncate(text.floor_char_boundary(TEXT));
        text.push('…');
        text.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t6_what_others_wrote_is_bounded() {
        let long = "é".repeat(450_000);
        let mut shown = Workload {
            name: long.clone(),
            not_scaled: Some(long.clone()),
            services: vec![long.clone(); 10_000],
            ..Workload::default()
        };
        workload(&mut shown);
        assert!(shown.name.ends_with("é…") && shown.name.len() <= TEXT + '…'.len_utf8());
        let json = serde_json::to_string(&shown).unwrap();
        assert!(
            json.len() < (LIST + 5) * (TEXT + 10),
            "{} bytes",
            json.len()
        );
    }

    #[test]
    fn t6_what_is_short_stays_as_it_is() {
        let before = Workload {
            name: "web".to_owned(),
            ..Workload::default()
        };
        let mut after = before.clone();
        workload(&mut after);
        assert_eq!(before, after);
    }
}
