//! Peak memory of the process.

/// Peak resident set size in bytes. `None` on systems without Linux's `/proc/self/status`.
pub(super) fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_has_held_some_memory() {
        assert!(super::peak_memory_bytes().unwrap() > 1 << 20);
    }
}
