//! Models that a user drops in: an ONNX file and a manifest entry.

use super::{ONE_THREAD, profile_in, root};
use crate::bake::onnx::GraphBuilder;
use crate::canary::picture;
use crate::checksum::sha256;
use crate::{Detector, ModelStore, Precision, Provider, Upscaler, bake, choose_profile};
use tempfile::TempDir;

/// A models folder with one model of the given family.
fn dropped_in(family: &str, file: &[u8], extra: &str) -> (TempDir, ModelStore) {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights");
    std::fs::create_dir(&weights).unwrap();
    std::os::unix::fs::symlink(root().join("runtime"), folder.path().join("runtime")).unwrap();
    std::fs::write(weights.join("mine.onnx"), file).unwrap();
    let manifest = format!(
        "[[model]]\nname = 'mine'\nfamily = '{family}'\nsource = 'here'\nlicence = 'mine'\ninput = 'pictures'\n\
         output = 'answers'\nfile = 'mine.onnx'\nsha256 = '{}'\n{extra}",
        sha256(file)
    );
    std::fs::write(weights.join("manifest.toml"), manifest).unwrap();
    // The manifest lies in the weights folder, so the runtime is searched there.
    std::os::unix::fs::symlink(root().join("runtime"), weights.join("runtime")).unwrap();
    let store = ModelStore::open(&weights).unwrap();
    (folder, store)
}

/// Repeats every pixel twice per side.
fn doubling_network(sides: &[&str; 4]) -> Vec<u8> {
    let mut graph = GraphBuilder::new("doubling");
    graph.input("pixels", sides);
    graph.resize("pixels", "doubled", "nearest", 2.0);
    graph.output("doubled", &["a", "3", "b", "c"]);
    graph.finish()
}

#[test]
fn an_upscaler_of_another_scale_works_without_code() {
    for sides in [["n", "3", "h", "w"], ["batch", "3", "rows", "columns"], ["1", "3", "h", "w"]] {
        let (folder, store) = dropped_in("srvgg", &doubling_network(&sides), "scale = 2\nmultiple = 8\n");
        assert!(!bake(&store, None, &mut |_| {}).unwrap()[0].fresh);
        let profile = choose_profile(&store, "mine", &ONE_THREAD, folder.path()).unwrap();
        let mut upscaler = Upscaler::load(&store, &profile, &ONE_THREAD).unwrap();
        upscaler.canary().unwrap();
        let small = picture(13, 9);
        let doubled = upscaler.infer(&[&small]).unwrap().remove(0);
        assert_eq!((doubled.width, doubled.height), (26, 18));
        let pixel = |x: usize, y: usize| &doubled.data[(y * 26 + x) * 3..][..3];
        assert_eq!(pixel(25, 17), &small.data[(8 * 13 + 12) * 3..]);
        assert_eq!(pixel(5, 6), &small.data[(3 * 13 + 2) * 3..][..3]);
    }
}

#[test]
fn a_wrong_scale_and_a_fixed_size_are_explained() {
    let (_folder, store) = dropped_in("srvgg", &doubling_network(&["n", "3", "h", "w"]), "scale = 4\n");
    let profile = profile_in(&store, "mine", Provider::Cpu, Precision::Fp32);
    let wrong = Upscaler::load(&store, &profile, &ONE_THREAD).unwrap().infer(&[&picture(8, 8)]).unwrap_err();
    assert!(wrong.to_string().contains("scale 4"), "{wrong}");

    let (_folder, store) = dropped_in("srvgg", &doubling_network(&["1", "3", "16", "16"]), "scale = 2\n");
    let profile = profile_in(&store, "mine", Provider::Cpu, Precision::Fp32);
    let fixed = Upscaler::load(&store, &profile, &ONE_THREAD).unwrap().infer(&[&picture(8, 8)]).unwrap_err();
    assert!(fixed.to_string().contains("takes only inputs of"), "{fixed}");

    let (_folder, store) = dropped_in("srvgg", b"no model", "");
    let profile = profile_in(&store, "mine", Provider::Cpu, Precision::Fp32);
    let broken = Upscaler::load(&store, &profile, &ONE_THREAD).err().unwrap();
    assert!(broken.to_string().contains("no ONNX file"), "{broken}");
}

#[test]
fn a_yolov8_shaped_detector_works_without_code() {
    // Answers any picture with one person of 80 x 160 at the centre of its 320 x 320 input, and one too unlikely.
    let mut answer = vec![0.0; 84 * 2];
    for (row, value) in [160.0, 160.0, 80.0, 160.0, 0.75].into_iter().enumerate() {
        answer[row * 2] = value;
    }
    answer[4 * 2 + 1] = 0.05;
    let mut graph = GraphBuilder::new("always one");
    graph.input("images", &["1", "3", "320", "320"]);
    graph.floats("zero", &[1], &[0.0]);
    graph.floats("answer", &[1, 84, 2], &answer);
    graph.node("Mul", &["images", "zero"], &["nothing"], &[]);
    graph.node("ReduceMax", &["nothing"], &["scalar"], &[("keepdims", crate::bake::onnx::Attribute::Int(0))]);
    graph.node("Add", &["answer", "scalar"], &["output0"], &[]);
    graph.output("output0", &["1", "84", "2"]);
    let (_folder, store) = dropped_in("yolov8", &graph.finish(), "");

    let profile = profile_in(&store, "mine", Provider::Cpu, Precision::Fp32);
    let mut detector = Detector::load(&store, &profile, &ONE_THREAD).unwrap();
    detector.canary().unwrap();
    // 640 x 320 is halved and padded above and below: the box becomes 160 x 320 at the picture's centre.
    let found = detector.detect(&[&picture(640, 320), &picture(640, 320)]).unwrap();
    assert_eq!(found.len(), 2);
    for boxes in found {
        assert_eq!(boxes.len(), 1);
        let person = &boxes[0];
        assert_eq!((person.x, person.y, person.width, person.height), (240.0, 0.0, 160.0, 320.0));
        assert_eq!((person.confidence, person.label.as_str()), (0.75, "person"));
    }
}
