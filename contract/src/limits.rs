//! Limits of the annotations that become rules of the kernel programs. `ebb lint`, the autoscaler and the agent use the
//! same limits, so that no annotation is valid for one of them and invalid for another.

/// Maximum number of ports of a pod whose connections are counted: the length of the table of ports in the kernel
/// programs.
pub const MAX_PORTS: usize = 16;

/// Maximum length of an excluded path in bytes: the length of a key of the table of excluded paths in the kernel
/// programs.
pub const MAX_EXCLUDED_PATH: usize = 40;

/// Returns whether the kernel programs can compare the paths of requests with this path: it begins with `/`, has at
/// most [`MAX_EXCLUDED_PATH`] bytes, and has only visible ASCII characters other than `?`.
#[must_use]
pub fn is_excludable(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= MAX_EXCLUDED_PATH
        && path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'?')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_fits_into_the_kernel_or_is_refused() {
        let longest = format!("/{}", "x".repeat(MAX_EXCLUDED_PATH - 1));
        for good in ["/", "/metrics", "/a%20b", &longest] {
            assert!(is_excludable(good), "{good}");
        }
        let longer = longest.clone() + "x";
        for bad in ["", "metrics", "/a b", "/a?b", "/ä", &longer] {
            assert!(!is_excludable(bad), "{bad}");
        }
    }
}
