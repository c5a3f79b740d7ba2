//! What the system says of this process.

/// Resident memory in bytes; `None` where the system does not tell (it does on Linux).
pub(crate) fn resident_bytes() -> Option<u64> {
    kibibytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// A field of `/proc/self/status` or `/proc/meminfo`, which are in KiB, in bytes.
pub(crate) fn kibibytes(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_in_kibibytes() {
        let text = "VmPeak:\t  10 kB\nVmRSS:\t    4096 kB\nThreads:\t1\n";
        assert_eq!(kibibytes(text, "VmRSS:"), Some(4 << 20));
        assert_eq!(kibibytes(text, "Threads:"), None);
        assert_eq!(kibibytes(text, "VmSwap:"), None);
    }
}
