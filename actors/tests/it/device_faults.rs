//! Supervisors of devices that hang, panic and come back, with engines made up for it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use actix::{Actor, Addr};
use actors::inference::device::{
    DeviceHealth, DeviceSetup, DeviceState, DeviceSupervisor, Engine, EngineFactory, EngineFault, Operate, Operation,
    SimDevice,
};
use actors::inference::profile::{DeviceClass, ModelProfile};
use actors::inference::queue::{DeviceFault, FrameJob, FrameQueue, Output, Served, Task, TaskKind};
use actors::processes::DEVICE_ARGUMENT;
use actors::processes::devices::{DeviceProcesses, Work};
use edits::RgbImage;
use entities::{ExportId, TenantId};
use tokio::sync::{oneshot, watch};

/// An engine whose calls do `before`, and then answer.
struct Made<F>(F);

impl<F: FnMut()> Engine for Made<F> {
    fn run(&mut self, _: &Task, images: &[&RgbImage]) -> Result<Vec<Output>, EngineFault> {
        (self.0)();
        Ok(images.iter().map(|image| Output::Image((*image).clone())).collect())
    }

    fn scale(&mut self, _: &Task) -> Result<u32, String> {
        Ok(1)
    }
}

fn made(before: impl FnMut() + 'static) -> Result<Box<dyn Engine>, String> {
    Ok(Box::new(Made(before)))
}

/// An engine that counts its calls over all workers, and does something in each.
fn counted(each: impl Fn(u32) + Clone + Send + Sync + 'static) -> EngineFactory {
    let calls = Arc::new(AtomicU32::new(0));
    Arc::new(move |_| {
        let (calls, each) = (Arc::clone(&calls), each.clone());
        made(move || each(calls.fetch_add(1, SeqCst)))
    })
}

fn hang() -> ! {
    loop {
        thread::park();
    }
}

struct Device {
    supervisor: Addr<DeviceSupervisor>,
    state: watch::Receiver<DeviceState>,
}

impl Device {
    fn start(id: &str, queue: &Arc<FrameQueue>, stall: Duration, factory: EngineFactory) -> Self {
        let setup = DeviceSetup { id: id.into(), class: DeviceClass::Sim, batch: 1, stall, factory, warm: Vec::new() };
        let (supervisor, state) = DeviceSupervisor::new(setup, Arc::clone(queue));
        Self { supervisor: supervisor.start(), state }
    }

    async fn becomes(&mut self, wanted: impl Fn(&DeviceState) -> bool) -> DeviceState {
        let waited = tokio::time::timeout(Duration::from_secs(60), self.state.wait_for(wanted)).await;
        waited.expect("in time").expect("the supervisor runs").clone()
    }
}

type Answer = oneshot::Receiver<Result<Served, DeviceFault>>;

fn push(queue: &FrameQueue) -> Answer {
    let task = Task { kind: TaskKind::Upscale, profile: Arc::new(ModelProfile::simulated("net")) };
    let image = Arc::new(RgbImage::new(2, 2));
    let (job, answer) = FrameJob::new(TenantId::new(), ExportId::new(), task, image, 0.01);
    queue.push(job, &|| false).unwrap();
    answer
}

async fn served_by(answer: Answer) -> String {
    answer.await.expect("the frame is kept").expect("a device serves it").device.to_string()
}

fn in_system(work: impl Future<Output = ()> + 'static) {
    actix::System::new().block_on(work);
}

const NEVER: Duration = Duration::from_secs(600);

pub fn what_a_stalled_worker_says_late_is_ignored() {
    in_system(async {
        let queue = Arc::new(FrameQueue::new(4, 1.0));
        let released = Arc::new(AtomicBool::new(false));
        let late = {
            let released = Arc::clone(&released);
            counted(move |call| {
                while call == 0 && !released.load(SeqCst) {
                    thread::sleep(Duration::from_millis(5));
                }
            })
        };
        let mut slow = Device::start("sim:slow", &queue, Duration::from_secs(1), late);
        let answer = push(&queue);
        slow.becomes(|state| state.in_hand == 1 || state.stalls > 0).await;
        let _other = Device::start("sim:other", &queue, NEVER, counted(|_| {}));
        assert_eq!(served_by(answer).await, "sim:other");
        let stalled = slow.becomes(|state| state.stalls == 1 && state.hung_threads == 1).await;
        assert!(stalled.last_error.is_some_and(|error| error.contains("no answer")));
        released.store(true, SeqCst);
        let back = slow.becomes(|state| state.hung_threads == 0 && state.restarts == 1).await;
        assert_eq!((back.batches, back.frames), (0, 0), "the late answer does not count");
    });
}

pub fn a_device_whose_calls_never_return_stays_out() {
    in_system(async {
        let queue = Arc::new(FrameQueue::new(4, 1.0));
        let workers = Arc::new(AtomicU32::new(0));
        // The first worker hangs in its first call, the others while they load.
        let factory: EngineFactory = Arc::new(move |_| {
            if workers.fetch_add(1, SeqCst) > 0 {
                hang();
            }
            made(|| hang())
        });
        let mut device = Device::start("sim:0", &queue, Duration::from_millis(100), factory);
        let _answer = push(&queue);
        let out = device
            .becomes(|state| {
                state.health == DeviceHealth::OutOfService && state.hung_threads == 3 && state.next_try.is_none()
            })
            .await;
        assert_eq!((out.stalls, out.restarts, out.batches), (3, 2, 0));
        let enabled = device.supervisor.send(Operate(Operation::Enable)).await.unwrap();
        assert_eq!(enabled.health, DeviceHealth::OutOfService, "there is no room for a fourth");
    });
}

pub fn a_worker_that_panics_is_replaced_and_its_frame_served() {
    in_system(async {
        let queue = Arc::new(FrameQueue::new(4, 1.0));
        let factory = counted(|call| assert!(call > 0, "a panic on purpose"));
        let mut device = Device::start("sim:0", &queue, NEVER, factory);
        assert_eq!(served_by(push(&queue)).await, "sim:0");
        let state = device.becomes(|state| state.health == DeviceHealth::Ready).await;
        assert_eq!((state.faults, state.restarts, state.batches), (1, 1, 1));
        assert!(state.last_error.is_some_and(|error| error.contains("a panic on purpose")));
    });
}

pub fn a_disabled_device_gives_its_frame_to_the_other() {
    in_system(async {
        let queue = Arc::new(FrameQueue::new(4, 1.0));
        let mut first = Device::start("sim:0", &queue, NEVER, counted(|_| hang()));
        let answer = push(&queue);
        first.becomes(|state| state.in_hand == 1).await;
        let disabled = first.supervisor.send(Operate(Operation::Disable)).await.unwrap();
        assert_eq!((disabled.health, disabled.in_hand, disabled.faults), (DeviceHealth::Disabled, 0, 0));
        let _second = Device::start("sim:1", &queue, NEVER, counted(|_| {}));
        assert_eq!(served_by(answer).await, "sim:1");
    });
}

pub fn a_frame_outlives_the_template_of_idle_devices() {
    in_system(async {
        let queue = Arc::new(FrameQueue::new(4, 1.0));
        let processes = Arc::new(DeviceProcesses::default());
        // More than the tries of a frame.
        let mut devices: Vec<_> = (0..7)
            .map(|n| {
                let work = Work::Sim(Arc::new(SimDevice::new(Duration::ZERO, None)));
                Device::start(&format!("sim:{n}"), &queue, NEVER, processes.engines(work, 0))
            })
            .collect();
        for device in &mut devices {
            device.becomes(|state| state.health == DeviceHealth::Ready).await;
        }
        kill_template();
        served_by(push(&queue)).await;
    });
}

/// Kills the template of this program's device processes.
fn kill_template() {
    let children =
        |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let children: Vec<_> = threads
        .flat_map(|thread| children(thread.unwrap()).split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let is_template = |child: &&String| {
        std::fs::read_to_string(format!("/proc/{child}/cmdline")).is_ok_and(|line| line.contains(DEVICE_ARGUMENT))
    };
    let template = children.iter().find(is_template).expect("a template").parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(template), nix::sys::signal::Signal::SIGKILL).unwrap();
}
