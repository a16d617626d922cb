//! Uniform Catmull-Rom splines (E. Catmull, R. Rom, "A class of local interpolating splines", 1974).

/// The curve between `p[1]` (u = 0) and `p[2]` (u = 1), with `p[0]` and `p[3]` their outer neighbours.
///
/// At an end of the path the end point stands for its missing neighbour. Written in differences, so that four equal
/// points give exactly that value: a crop of constant size must not breathe by rounding.
pub fn catmull_rom(p: [f64; 4], u: f64) -> f64 {
    let rise = p[2] - p[1];
    let (slope_in, slope_out) = ((p[2] - p[0]) / 2.0, (p[3] - p[1]) / 2.0);
    let square = 3.0 * rise - 2.0 * slope_in - slope_out;
    let cube = slope_in + slope_out - 2.0 * rise;
    p[1] + u * (slope_in + u * (square + u * cube))
}

/// Where a time lies among keyframes.
pub(crate) enum Place<K> {
    /// Before the first, at or after the last, or alone: that one holds.
    Hold(K),
    /// Between the inner two of these, this far (0 to 1) from the one to the other. End points are repeated.
    Between([K; 4], f64),
}

/// Where `time` lies among `keyframes`, of which there is at least one, with rising times.
pub(crate) fn place<K: Copy>(keyframes: &[K], time: f64, time_of: fn(&K) -> f64) -> Place<K> {
    let next = keyframes.partition_point(|keyframe| time_of(keyframe) <= time);
    let last = keyframes.len() - 1;
    if next == 0 || next > last {
        return Place::Hold(keyframes[next.min(last)]);
    }
    let neighbours = [next.saturating_sub(2), next - 1, next, (next + 1).min(last)].map(|i| keyframes[i]);
    let (from, to) = (time_of(&neighbours[1]), time_of(&neighbours[2]));
    Place::Between(neighbours, (time - from) / (to - from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_through_its_points_and_follows_lines() {
        assert_eq!(catmull_rom([0.0, 10.0, 20.0, 30.0], 0.0), 10.0);
        assert_eq!(catmull_rom([0.0, 10.0, 20.0, 30.0], 1.0), 20.0);
        assert_eq!(catmull_rom([0.0, 10.0, 20.0, 30.0], 0.25), 12.5);
        assert_eq!(catmull_rom([0.1; 4], 0.3), 0.1);
    }

    #[test]
    fn it_is_the_textbook_formula() {
        let (p, u) = ([3.0, -1.0, 4.0, 1.5], 0.37_f64);
        let textbook = 0.5
            * (2.0 * p[1]
                + (p[2] - p[0]) * u
                + (2.0 * p[0] - 5.0 * p[1] + 4.0 * p[2] - p[3]) * u * u
                + (3.0 * p[1] - p[0] - 3.0 * p[2] + p[3]) * u * u * u);
        assert!((catmull_rom(p, u) - textbook).abs() < 1e-12);
    }
}
