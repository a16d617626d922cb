//! How many devices a job should take, what it takes on them and what it costs.
//!
//! With start-up and transfer of s seconds a worker and N frames of f device seconds each, k devices need
//!
//! ```text
//! wall           = s + N·f / k
//! device seconds = k·s + N·f
//! ```
//!
//! so more devices are always faster and never cheaper, and the question is where to stop. Measured rows override the
//! formula. Warm devices that pull frames have s = 0: then a job scales at constant cost.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A job to plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Job {
    /// Frames to render.
    pub frames: u64,
    /// Device seconds of one frame.
    pub frame_seconds: f64,
    /// Seconds each worker needs before its first frame: start-up and transfer.
    pub worker_seconds: f64,
    /// Price of a device second.
    pub price: f64,
    /// Most devices to consider, at least 1.
    pub max_devices: u32,
}

/// What a job takes on a number of devices.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub devices: u32,
    /// From start to finish.
    pub wall_seconds: f64,
    /// Summed over the devices.
    pub device_seconds: f64,
    /// In the price's currency; left out of a measured row: device seconds times price.
    #[serde(default)]
    pub cost: Option<f64>,
}

/// What counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The least device seconds.
    Cheapest,
    /// Doubles the devices while that saves at least a quarter of the wall time and adds at most a tenth of the device
    /// seconds.
    Balanced,
    /// The least wall time.
    Fastest,
}

/// The rows of a job and the one the policy chooses.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Plan {
    pub policy: Policy,
    /// The devices to take.
    pub devices: u32,
    /// One row for each number of devices: 1, 2, 4 and so on.
    pub rows: Vec<Row>,
}

/// Least share of the wall time that a doubling must save.
const WORTH_SAVING: f64 = 0.25;
/// Greatest share of device seconds that a doubling may add.
const WORTH_PAYING: f64 = 0.10;

impl Job {
    fn row(&self, devices: u32) -> Row {
        let (work, workers) = (self.frames as f64 * self.frame_seconds, f64::from(devices));
        let device_seconds = workers * self.worker_seconds + work;
        let wall_seconds = self.worker_seconds + work / workers;
        Row { devices, wall_seconds, device_seconds, cost: Some(device_seconds * self.price) }
    }
}

impl Plan {
    /// Plans `job` on 1, 2, 4, … devices. A row of `measured` stands in the place of the formula's for its number of
    /// devices.
    pub fn new(job: &Job, measured: &[Row], policy: Policy) -> Self {
        let doublings = std::iter::successors(Some(1u32), |devices| devices.checked_mul(2));
        let rows: Vec<Row> = doublings
            .take_while(|devices| *devices <= job.max_devices.max(1))
            .map(|devices| match measured.iter().find(|row| row.devices == devices) {
                Some(row) => Row { cost: row.cost.or(Some(row.device_seconds * job.price)), ..*row },
                None => job.row(devices),
            })
            .collect();
        let devices = choose(&rows, policy);
        Self { policy, devices, rows }
    }
}

/// Of equal rows the one with fewer devices.
fn choose(rows: &[Row], policy: Policy) -> u32 {
    let least = |of: fn(&Row) -> f64| rows.iter().min_by(|a, b| of(a).total_cmp(&of(b))).map_or(1, |row| row.devices);
    match policy {
        Policy::Cheapest => least(|row| row.device_seconds),
        Policy::Fastest => least(|row| row.wall_seconds),
        Policy::Balanced => {
            let worth_it = |pair: &&[Row]| {
                let (now, doubled) = (pair[0], pair[1]);
                doubled.wall_seconds <= now.wall_seconds * (1.0 - WORTH_SAVING)
                    && doubled.device_seconds <= now.device_seconds * (1.0 + WORTH_PAYING)
            };
            1 << rows.windows(2).take_while(worth_it).count()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T4_PRICE: f64 = 0.000164;

    fn job(frames: u64, frame_seconds: f64, worker_seconds: f64) -> Job {
        Job { frames, frame_seconds, worker_seconds, price: T4_PRICE, max_devices: 8 }
    }

    fn row(devices: u32, wall_seconds: f64, device_seconds: f64) -> Row {
        Row { devices, wall_seconds, device_seconds, cost: None }
    }

    fn chosen(job: &Job, measured: &[Row]) -> u32 {
        Plan::new(job, measured, Policy::Balanced).devices
    }

    #[test]
    fn framing_by_the_formula_takes_four_devices_and_not_eight() {
        let framing = job(449, 300.0 / 449.0, 10.0);
        let plan = Plan::new(&framing, &[], Policy::Balanced);
        let walls: Vec<f64> = plan.rows.iter().map(|row| row.wall_seconds).collect();
        for (wall, wanted) in walls.iter().zip([310.0, 160.0, 85.0, 47.5]) {
            assert!((wall - wanted).abs() < 1e-9, "{walls:?}");
        }
        assert_eq!(plan.devices, 4);
        assert_eq!(Plan::new(&framing, &[], Policy::Cheapest).devices, 1);
        assert_eq!(Plan::new(&framing, &[], Policy::Fastest).devices, 8);
    }

    #[test]
    fn overlay_stays_on_one_device_by_the_formula_and_as_measured() {
        let overlay = job(2677, 35.56 / 2677.0, 10.0);
        assert_eq!(chosen(&overlay, &[]), 1);
        let measured = [row(1, 45.56, 45.56), row(2, 45.42, 72.68), row(4, 49.10, 157.12)];
        for policy in [Policy::Balanced, Policy::Cheapest] {
            assert_eq!(Plan::new(&overlay, &measured, policy).devices, 1, "{policy:?}");
        }
    }

    #[test]
    fn framing_as_measured_takes_four_devices_and_not_eight() {
        let framing = job(449, 300.0 / 449.0, 10.0);
        let measured = [row(1, 310.0, 310.0), row(2, 160.8, 300.0), row(4, 87.0, 300.0), row(8, 103.3, 707.0)];
        assert_eq!(chosen(&framing, &measured), 4);
        assert_eq!(Plan::new(&framing, &measured, Policy::Fastest).devices, 4);
        let four = Plan::new(&framing, &measured, Policy::Balanced).rows[2];
        assert!((four.cost.unwrap() - 0.0492).abs() < 1e-6);
    }

    #[test]
    fn warm_devices_scale_at_constant_cost() {
        let plan = Plan::new(&job(1000, 0.5, 0.0), &[], Policy::Balanced);
        assert_eq!(plan.devices, 8);
        assert!(plan.rows.iter().all(|row| row.device_seconds == 500.0));
    }

    #[test]
    fn a_single_device_is_all_there_is_to_choose() {
        let one = Job { max_devices: 1, ..job(10, 1.0, 5.0) };
        assert_eq!(Plan::new(&one, &[], Policy::Fastest).devices, 1);
    }
}
