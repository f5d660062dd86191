//! Finds words that texts for users must not contain, because the standard term for the same thing is another word.
//!
//! Checks the texts that users read: documents, summaries of alerts, dashboards, the live page, and the messages,
//! metric names and help texts in the programs. Comments are for reviewers and are not checked. Failure mode: a listed
//! word is reported even in a text where it is correct; such a text must use another correct word.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::count::Counts;
use crate::{cargo::Workspace, say};

/// Tuples (word to avoid, word to use).
const WORDS: &[(&str, &str)] = &[
    ("asked for", "requested"),
    ("asked to have", "requested"),
    ("broke off", "aborted"),
    ("broken off", "aborted"),
    ("burst room", "excess burst capacity"),
    ("door", "proxied Service port, or activator"),
    ("doors", "proxied Service ports, or activators"),
    ("fronted", "proxied"),
    ("heard of", "reported, or last report"),
    ("held", "queued"),
    ("lack", "unavailable"),
    ("left out", "excluded, or ignored"),
    ("meant to carry", "target per pod, or capacity at target"),
    ("need a look", "need attention"),
    ("needs a look", "needs attention"),
    ("put aside", "out-of-order buffer"),
    ("rival", "conflicting autoscaler"),
    ("rivals", "conflicting autoscalers"),
    ("silent", "without current metrics, or stopped reporting"),
    ("stash", "out-of-order buffer"),
    ("turned away", "rejected"),
    ("wanted", "desired"),
    ("way in", "ingress"),
    ("way out", "egress"),
];

/// Further tuples (word to avoid, word to use) for messages, help texts, dashboards and the page. Documents may contain
/// these words to avoid, because they are common English.
const SHORT_TEXTS: &[(&str, &str)] = &[
    ("copies", "replicas"),
    ("copy", "replica"),
    ("in place", "path switch confirmed"),
];

pub(super) fn check(workspace: &Workspace) -> Result<Counts> {
    let files = workspace.files(&[])?;
    let mut found = Vec::new();
    for name in &files {
        let Some(read) = reader(name) else {
            continue;
        };
        let path = workspace.root.join(name);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for (number, shown) in read(&text) {
            let also = if name.ends_with(".md") {
                &[]
            } else {
                SHORT_TEXTS
            };
            if let Some((word, instead)) = wrong(&shown, also) {
                found.push(format!(
                    "{name}:{number}: {word:?}, say {instead}: {}",
                    shown.trim()
                ));
            }
        }
    }
    for line in &found {
        say::note(line);
    }
    Ok(Counts::one(found.is_empty()))
}

/// A function that returns the lines of a file that users read, as tuples (line number, text).
type Reader = fn(&str) -> Vec<(usize, String)>;

/// Returns the reader for the texts of the file `name`, or `None` if the file contains no text for users.
fn reader(name: &str) -> Option<Reader> {
    let path = Path::new(name);
    let is_product = [
        "activator/kubernetes/src/",
        "activator/proxy/src/",
        "agent/src/",
        "autoscaler/",
        "cli/src/",
        "contract/",
        "metrics/src/",
        "page/model/src/",
        "page/server/src/",
        "report-client/",
        "xtask/src/dashboards/",
    ]
    .iter()
    .any(|folder| name.starts_with(folder));
    let is_test = name.contains("tests") || name.contains("engine/src/model/");
    match path.extension()?.to_str()? {
        // The changelog is not checked, because it contains old names.
        "md" => (name != "CHANGELOG.md").then_some(prose),
        "rs" => (is_product && !is_test).then_some(literals),
        "html" | "js" => is_product.then_some(lines_without_comments),
        "yaml" => name.starts_with("deploy/prometheus/").then_some(summaries),
        "json" => name.starts_with("deploy/grafana/").then_some(titles),
        _ => None,
    }
}

fn lines(text: &str) -> Vec<(usize, String)> {
    let numbered = text.lines().enumerate();
    numbered
        .map(|(number, line)| (number + 1, line.to_owned()))
        .collect()
}

/// Returns the lines of a document without its code. The tests of the programs check the names in code.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut is_code = false;
    let mut all = lines(text);
    all.retain_mut(|(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        if is_code || is_fence || line.starts_with("    ") {
            return false;
        }
        // When the line is split at backticks, every second part is code and is removed.
        *line = line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
        true
    });
    all
}

fn lines_without_comments(text: &str) -> Vec<(usize, String)> {
    let is_comment = |line: &str| line.trim_start().starts_with(['/', '*']);
    let mut all = lines(text);
    all.retain(|(_, line)| !is_comment(line));
    all
}

fn summaries(text: &str) -> Vec<(usize, String)> {
    let mut all = lines(text);
    all.retain(|(_, line)| line.contains("summary:") || line.contains("description:"));
    all
}

fn titles(text: &str) -> Vec<(usize, String)> {
    let keys = ["\"title\":", "\"description\":", "\"legendFormat\":"];
    let mut all = lines(text);
    all.retain(|(_, line)| keys.iter().any(|key| line.contains(key)));
    all
}

/// Returns the string literals of more than one word, without those in the tests at the end of the file.
fn literals(text: &str) -> Vec<(usize, String)> {
    let code = text
        .split_once("#[cfg(test)]\nmod")
        .map_or(text, |(code, _)| code);
    let (mut all, mut open) = (Vec::new(), None::<(usize, String)>);
    for (number, line) in lines(code) {
        let line = line.trim();
        if open.is_none() && line.starts_with("//") {
            continue;
        }
        let mut letters = line.chars();
        while let Some(letter) = letters.next() {
            match (&mut open, letter) {
                (None, '"') => open = Some((number, String::new())),
                (Some(_), '"') => all.extend(open.take()),
                (Some((_, literal)), '\\') => match letters.next() {
                    Some(escaped) => literal.push(escaped),
                    // A backslash at the end of the line: the string literal continues on the next line.
                    None => literal.push(' '),
                },
                (Some((_, literal)), letter) => literal.push(letter),
                // Skips a character literal, because it may be a quotation mark.
                (None, '\'') if line.contains("'\"'") => drop(letters.nth(1)),
                (None, _) => {}
            }
        }
    }
    all.retain_mut(|(_, literal)| {
        *literal = without_arguments(literal);
        literal.contains(' ')
    });
    all
}

/// Returns a format string without the names of its arguments, which users do not see.
fn without_arguments(literal: &str) -> String {
    let mut parts = literal.split('{');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text += part.split_once('}').map_or(part, |(_, after)| after);
    }
    text
}

/// Returns the first tuple of [`WORDS`] or `also` whose phrase the text contains as whole words.
fn wrong(
    text: &str,
    also: &'static [(&'static str, &'static str)],
) -> Option<(&'static str, &'static str)> {
    let text = text.to_lowercase();
    let is_word = |letter: Option<char>| {
        letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
    };
    let has = |phrase: &str| {
        text.match_indices(phrase).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + phrase.len()..].chars().next();
            !is_word(before) && !is_word(after)
        })
    };
    let mut all = WORDS.iter().chain(also).copied();
    all.find(|(phrase, _)| has(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_found_at_the_boundaries_of_words() {
        assert_eq!(
            wrong("Pods wanted, bounds included", &[]),
            Some(("wanted", "desired"))
        );
        assert_eq!(wrong("unwanted and withheld", &[]), None);
        assert_eq!(wrong("A copy", &[]), None);
        assert_eq!(wrong("A COPY.", SHORT_TEXTS), Some(("copy", "replica")));
    }

    #[test]
    fn of_a_document_the_prose_is_read() {
        let text = "One `held` word.\n\n    held\n```\nheld\n```\nlast";
        let found: Vec<_> = prose(text).into_iter().map(|(_, line)| line).collect();
        assert_eq!(found, ["One   word.", "", "last"]);
    }

    #[test]
    fn literals_are_found_where_code_has_them() {
        let code = "// \"a comment\"\nlet a = \"one word\"; // \"more\"\nlet b = \"goes \\\n   on\";\nlet c = '\"';\n\
                    let d = \"last \\\"one\\\" of {held}\";\n#[cfg(test)]\nmod tests { \"a test\" }";
        let found: Vec<_> = literals(code).into_iter().map(|(_, text)| text).collect();
        assert_eq!(found, ["one word", "goes  on", "last \"one\" of "]);
    }
}
