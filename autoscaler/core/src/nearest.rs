//! The known key that a mistyped key most likely stands for.

/// Returns the largest edit distance at which `key` counts as mistyped: a third of its length. Beyond this distance,
/// `key` is another word.
fn tolerance(key: &str) -> usize {
    key.len() / 3
}

/// Returns the candidate in `known` that is most similar to `key`; `None` if no candidate is similar enough.
pub(crate) fn nearest<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(key, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= tolerance(key))
        .map(|(_, candidate)| candidate.to_owned())
}
