//! The known key a mistyped one was most likely meant to be.

/// How far a key may be off, in letters, to be called a slip: past a third of its length it is
/// another word.
fn tolerance(key: &str) -> usize {
    key.len() / 3
}

/// The one of `known` nearest to `key`, if any is near.
pub(crate) fn nearest<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(key, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= tolerance(key))
        .map(|(_, candidate)| candidate.to_owned())
}
