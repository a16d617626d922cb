//! Files that are made to hurt get the answer that their list says, from every way in.

use std::collections::BTreeSet;

use media::testing::hostile::{Answer, files};
use media::{MediaError, build_index, probe};

#[test]
fn every_hostile_file_gets_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let files = files();
    assert!(files.len() >= 40, "{}", files.len());
    let names: BTreeSet<_> = files.iter().map(|file| file.name).collect();
    assert_eq!(names.len(), files.len(), "two files have the same name");
    let mut wrong = Vec::new();
    for file in files {
        let path = folder.path().join(file.name);
        std::fs::write(&path, &file.bytes).unwrap();
        let answers = [probe(&path).err(), build_index(&path).err()];
        if let Answer::Refused(codes) = file.answer {
            let right = |error: &Option<MediaError>| matches!(error, Some(MediaError::Refused { code, detail }) if codes.contains(code) && !detail.is_empty());
            if !answers.iter().all(right) {
                wrong.push(format!("{} ({}): {answers:?}", file.name, file.what));
            }
        }
        std::fs::remove_file(&path).unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
