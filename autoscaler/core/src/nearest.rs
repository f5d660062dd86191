//! The known key that a mistyped key most likely stands for.

/// Largest edit distance at which a key counts as a typing error. Beyond a third of its length, it is another word.
fn tolerance(key: &str) -> usize {
    key.len() / 3
}

/// Returns the one of `known` that is most similar to `key`, if one is similar enough.
pub(crate) fn nearest<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(key, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= tolerance(key))
        .map(|(_, candidate)| candidate.to_owned())
}
