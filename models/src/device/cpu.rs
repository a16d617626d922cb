//! ONNX Runtime's own kernels on the processor, and what the processor is.

use ort::ep::{CPU, ExecutionProviderDispatch};

/// Instruction sets by which inference libraries choose kernels, hence bits.
const KERNEL_FLAGS: [&str; 7] =
    ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8"];

pub(super) fn execution_provider() -> ExecutionProviderDispatch {
    CPU::default().with_arena_allocator(true).build()
}

/// The processor's model and its kernel-choosing instruction sets; virtual machines often share a model name but not
/// these.
pub(super) fn name() -> String {
    describe(&cpuinfo())
}

pub(super) fn has_bf16() -> Result<(), String> {
    let text = cpuinfo();
    let flags = field(&text, "flags").unwrap_or_default();
    let found = flags.split_whitespace().any(|flag| matches!(flag, "avx512_bf16" | "amx_bf16"));
    if found { Ok(()) } else { Err("the processor has neither avx512_bf16 nor amx_bf16".to_owned()) }
}

fn cpuinfo() -> String {
    // Off Linux there is no such file: the architecture's name has to do, and bf16 is not offered.
    std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()
}

fn describe(cpuinfo: &str) -> String {
    let model = field(cpuinfo, "model name").unwrap_or(std::env::consts::ARCH);
    let family = field(cpuinfo, "cpu family").unwrap_or("?");
    let number = field(cpuinfo, "model").unwrap_or("?");
    let flags: Vec<&str> = field(cpuinfo, "flags").unwrap_or_default().split_whitespace().collect();
    let kernels: Vec<&str> = KERNEL_FLAGS.into_iter().filter(|flag| flags.contains(flag)).collect();
    format!("{model} (family {family} model {number}: {})", kernels.join(" "))
}

/// The first processor's value of a `/proc/cpuinfo` field.
fn field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_of_one_name_differ_by_their_instruction_sets() {
        let old = "model name : Xeon\ncpu family : 6\nmodel : 85\nflags : fpu avx2 avx512f\n";
        let new = "model name : Xeon\ncpu family : 6\nmodel : 85\nflags : fpu avx2 avx512f amx_bf16\n";
        assert_eq!(describe(old), "Xeon (family 6 model 85: avx2 avx512f)");
        assert_ne!(describe(old), describe(new));
    }
}
