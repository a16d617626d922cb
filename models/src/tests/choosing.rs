//! The choice of a numeric profile and its keeping.

use super::{DETECTOR, ONE_THREAD, SMALL_NET, store};
use crate::{Detector, DeviceKind, ModelError, Upscaler, choose_profile, kept_profile};

#[test]
fn a_choice_is_measured_once_and_kept() {
    let keep = tempfile::tempdir().unwrap();
    let file = keep.path().join("profiles.json");
    assert_eq!(kept_profile(store(), SMALL_NET, &ONE_THREAD, keep.path()).unwrap(), None);
    let chosen = choose_profile(store(), SMALL_NET, &ONE_THREAD, keep.path()).unwrap();
    assert_eq!(kept_profile(store(), SMALL_NET, &ONE_THREAD, keep.path()).unwrap().as_ref(), Some(&chosen));
    Upscaler::load(store(), &chosen, &ONE_THREAD).unwrap().canary().unwrap();
    let kept = std::fs::read_to_string(&file).unwrap();

    assert_eq!(choose_profile(store(), SMALL_NET, &ONE_THREAD, keep.path()).unwrap(), chosen);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), kept, "it was not measured again");

    // What is kept is believed, so that a profile lives from start to start.
    std::fs::write(&file, kept.replace("\"batch\": 1", "\"batch\": 3")).unwrap();
    assert_eq!(choose_profile(store(), SMALL_NET, &ONE_THREAD, keep.path()).unwrap().batch, 3);

    // Another model and another number of threads are choices of their own.
    let detector = choose_profile(store(), DETECTOR, &ONE_THREAD, keep.path()).unwrap();
    Detector::load(store(), &detector, &ONE_THREAD).unwrap().canary().unwrap();
    let two = choose_profile(store(), SMALL_NET, &DeviceKind::Cpu { threads: 2 }, keep.path()).unwrap();
    assert_eq!((two.threads, two.batch), (2, 1));
}

#[test]
fn a_choice_that_another_process_makes_meanwhile_is_taken_over() {
    let (other, keep) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    choose_profile(store(), SMALL_NET, &ONE_THREAD, other.path()).unwrap();
    let theirs = std::fs::read_to_string(other.path().join("profiles.json")).unwrap();
    // A lock counts for an open file, so this thread's stands for another process.
    let lock = std::fs::File::create(keep.path().join("profiles.lock")).unwrap();
    lock.lock().unwrap();
    std::thread::scope(|threads| {
        let ours = threads.spawn(|| choose_profile(store(), SMALL_NET, &ONE_THREAD, keep.path()).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert!(!ours.is_finished(), "it waits");
        let theirs = theirs.replace("\"batch\": 1", "\"batch\": 3");
        std::fs::write(keep.path().join("profiles.json"), theirs).unwrap();
        lock.unlock().unwrap();
        assert_eq!(ours.join().unwrap().batch, 3);
    });
}

#[test]
fn a_broken_file_is_reported_and_not_overwritten() {
    let keep = tempfile::tempdir().unwrap();
    let file = keep.path().join("profiles.json");
    std::fs::write(&file, "{").unwrap();
    let error = choose_profile(store(), SMALL_NET, &ONE_THREAD, keep.path()).unwrap_err().to_string();
    assert!(error.contains("profiles.json"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{");
}

#[test]
fn a_gpu_that_is_not_there_is_refused_with_the_reason() {
    let keep = tempfile::tempdir().unwrap();
    let absent = DeviceKind::Cuda { index: 99 };
    let error = choose_profile(store(), SMALL_NET, &absent, keep.path()).unwrap_err();
    assert!(matches!(error, ModelError::NotOffered { .. }));
    assert!(error.to_string().contains("not on this machine"), "{error}");
}
