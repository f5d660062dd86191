//! Forwards the output of replicas to ebb's stderr, line by line, with the replica's number in front.
//!
//! Failure mode: a line without an end is cut into pieces of [`LONGEST_LINE`], so that a replica cannot make ebb
//! buffer an unbounded amount.

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use super::super::report::console::Console;

/// Maximum length of an output line, in bytes; a longer line is cut. The value is larger than usual log lines, and
/// costs little memory per replica.
const LONGEST_LINE: usize = 16 * 1024;

/// Forwards `output` to the console until the replica closes the pipe.
pub(crate) async fn forward(output: impl AsyncRead + Unpin, replica: u64, console: Console) {
    let mut reader = BufReader::with_capacity(LONGEST_LINE, output);
    let prefix = format!("[replica {replica}] ").into_bytes();
    let mut line = prefix.clone();
    // A read error has the same effect as the end of the output.
    while let Ok(read) = reader.fill_buf().await {
        if read.is_empty() {
            break;
        }
        let room = LONGEST_LINE + prefix.len() - line.len();
        let end = read.iter().take(room).position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(read.len().min(room));
        line.extend_from_slice(&read[..taken]);
        reader.consume(taken + usize::from(end.is_some()));
        if end.is_some() || taken == room {
            console.line(&line);
            line.truncate(prefix.len());
        }
    }
    if line.len() > prefix.len() {
        console.line(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn forwarded(output: &[u8]) -> Vec<String> {
        let console = Console::captured();
        forward(output, 3, console.clone()).await;
        console.taken()
    }

    #[tokio::test]
    async fn each_line_has_the_number_before_it() {
        assert_eq!(
            forwarded(b"one\n\ntwo").await,
            ["[replica 3] one", "[replica 3] ", "[replica 3] two"]
        );
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_cut() {
        let lines = forwarded(&vec![b'x'; LONGEST_LINE + 1]).await;
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].len(), "[replica 3] ".len() + LONGEST_LINE);
        assert_eq!(lines[1], "[replica 3] x");
    }
}
