//! Non-maximum suppression: of overlapping boxes only the most confident stays.

use super::Candidate;

/// The candidates by falling confidence, without those that overlap a stronger one by more than `iou` (intersection
/// over union).
pub(super) fn strongest(mut candidates: Vec<Candidate>, iou: f32) -> Vec<Candidate> {
    candidates.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        if kept.iter().all(|stronger| overlap(&stronger.corners, &candidate.corners) <= iou) {
            kept.push(candidate);
        }
    }
    kept
}

fn overlap(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let area = |corners: &[f32; 4]| (corners[2] - corners[0]) * (corners[3] - corners[1]);
    let shared = width * height;
    let union = area(a) + area(b) - shared;
    if union > 0.0 { shared / union } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_confident_of_overlapping_boxes_stays() {
        let boxed = |x: f32, confidence: f32| Candidate { corners: [x, 0.0, x + 10.0, 10.0], confidence };
        let kept = strongest(vec![boxed(1.0, 0.5), boxed(0.0, 0.9), boxed(30.0, 0.2), boxed(5.0, 0.4)], 0.6);
        let left: Vec<f32> = kept.iter().map(|candidate| candidate.corners[0]).collect();
        // At 1 the overlap with 0 is 9/11; at 5 it is 5/15.
        assert_eq!(left, [0.0, 5.0, 30.0]);
    }
}
