//! Device supervisors and whole exports through the public surface of the crate.
//!
//! A node starts its own program as the template of its render processes, so this one has a `main` of its own.

mod device_faults;
mod exports;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    actors::processes::child::serve_if_asked().unwrap_or_else(run)
}

/// Runs the named functions as tests.
macro_rules! tests {
    ($($module:ident::$test:ident),* $(,)?) => {
        vec![$(Trial::test(concat!(stringify!($module), "::", stringify!($test)), || {
            $module::$test();
            Ok(())
        })),*]
    };
}

fn run() -> ExitCode {
    let tests = tests![
        device_faults::what_a_stalled_worker_says_late_is_ignored,
        device_faults::a_device_whose_calls_never_return_stays_out,
        device_faults::a_worker_that_panics_is_replaced_and_its_frame_served,
        device_faults::a_disabled_device_gives_its_frame_to_the_other,
        device_faults::a_frame_outlives_the_template_of_idle_devices,
        exports::a_framing_export_completes_with_its_frames_report_and_detections,
        exports::a_stopped_node_goes_on_and_makes_the_same_bytes,
        exports::a_cancelled_export_stops_and_leaves_no_file,
        exports::an_export_that_another_node_cancelled_stops_rendering_here,
        exports::detections_of_a_running_export_are_read_as_segments_are_committed,
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}
