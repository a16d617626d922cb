//! ONNX Runtime: loaded from its folder once, one environment for the whole process.

use crate::ModelError;
use ort::environment::Environment;
use ort::logging::LogLevel;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) struct Runtime {
    pub environment: Environment,
    pub library: PathBuf,
}

/// The library allows one environment per process; it is never unloaded, since sessions may outlive any owner.
static LOADED: Mutex<Option<Arc<Runtime>>> = Mutex::new(None);

/// Loads ONNX Runtime from `library`, or hands out the environment made earlier.
pub(crate) fn load(library: &Path) -> Result<Arc<Runtime>, ModelError> {
    let failed = |detail: String| ModelError::Runtime { path: library.to_owned(), detail };
    // One library may be reached by several paths.
    let library = library.canonicalize().map_err(|error| failed(error.to_string()))?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = loaded.as_ref() {
        if runtime.library != library {
            return Err(failed(format!("this process already uses {}", runtime.library.display())));
        }
        return Ok(runtime.clone());
    }
    let environment = ort::init_from(&library)
        .map_err(|error| failed(error.to_string()))?
        .with_name("touchline")
        .with_telemetry(false)
        .with_logger(Arc::new(|level, _category, _id, _place, message| log(level, message)))
        .build()
        .map_err(|error| failed(error.to_string()))?;
    environment.set_log_level(LogLevel::Warning);
    let runtime = Arc::new(Runtime { environment, library });
    *loaded = Some(runtime.clone());
    Ok(runtime)
}

/// The version that the library's file name carries (`libonnxruntime.so.1.24.1`).
pub(crate) fn version(library: &Path) -> String {
    let real = library.canonicalize().unwrap_or_else(|_| library.to_owned());
    let name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match name.strip_prefix("libonnxruntime.so.") {
        Some(version) => version.to_owned(),
        None => "unknown".to_owned(),
    }
}

fn log(level: LogLevel, message: &str) {
    match level {
        LogLevel::Verbose | LogLevel::Info => tracing::trace!(target: "onnxruntime", "{message}"),
        LogLevel::Warning => tracing::debug!(target: "onnxruntime", "{message}"),
        LogLevel::Error | LogLevel::Fatal => tracing::warn!(target: "onnxruntime", "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_in_the_file_name() {
        assert_eq!(version(Path::new("/nowhere/libonnxruntime.so.1.24.1")), "1.24.1");
        assert_eq!(version(Path::new("/nowhere/libonnxruntime.so")), "unknown");
    }
}
