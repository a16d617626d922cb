//! What the figures were measured on, in words.

use std::fs;

/// Such as `Debian GNU/Linux 12 (bookworm), 2 cores of an Intel(R) Xeon(R) CPU, 8 GB memory`.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model = value("/proc/cpuinfo", "model name", ':').unwrap_or_else(|| "a processor of unknown make".to_owned());
    let system = value("/etc/os-release", "PRETTY_NAME", '=').unwrap_or_else(|| "Linux".to_owned());
    let memory = value("/proc/meminfo", "MemTotal", ':').and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let memory =
        memory.map_or("unknown memory".to_owned(), |kibibytes| format!("{:.0} GiB memory", kibibytes / 1048576.0));
    format!("{system}, {cores} cores of {model}, {memory}")
}

/// The value of the first line `key SEPARATOR value` of a file.
fn value(file: &str, key: &str, separator: char) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(separator)?;
        (name.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
    })
}
