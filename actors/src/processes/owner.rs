//! A node's render processes: one for each task, started, watched and killed here.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use config::ProcessesSettings;
use edits::RgbImage;
use media::{FrameIndex, MediaError, Probe};
use sandbox::{Confinement, Exit, Limits, Process};
use serde::de::DeserializeOwned;

use super::TEMPLATE_ARGUMENT;
use super::error::ProcessError;
use super::kept_template::KeptTemplate;
use super::log::Repeat;
use super::message::{Answer, Message, Order, Threshold};
use super::task::{PictureTask, Task};
use super::watch::{Ender, Patience, Signs, Watch};
use crate::render::{RenderError, Slice};
use crate::threads::{self, blocking};

/// Largest file that a task may write.
const FILE_BYTES: u64 = 1 << 40;
/// CPU time of one task: far beyond what the longest index takes, so that nothing runs for ever that does not stall.
const CPU_SECONDS: u64 = 4 * 3600;
/// Longest reason for which a task fails: it is kept in rows, and shown.
const MOST_REASON_BYTES: usize = 16 << 10;
/// What a process needs of the environment, which may hold secrets.
const VARIABLES: [&str; 2] = ["LD_LIBRARY_PATH", "FAILPOINTS"];
/// How long the file of an upload may be inspected: the client waits for the answer.
const INSPECTION: Duration = Duration::from_secs(10);

/// See the [module](self).
pub struct RenderProcesses {
    template: Arc<KeptTemplate>,
    memory_bytes: u64,
    stall: Duration,
}

/// What a process that has just been started is followed by.
pub(super) struct Started {
    pub process: Arc<Process>,
    pub signs: Arc<Signs>,
    pub ender: Ender,
    /// Whether its threads are traced.
    pub traced: bool,
}

/// Takes what a task sends beside its log and its answer. Lives on the thread that listens to the process.
pub(super) trait Listener {
    /// What it has gathered when the task is done.
    type Heard: Send + 'static;

    /// False: no such message was to come.
    fn hear(&mut self, message: Message) -> bool;

    /// The task is done; `whole`: with what was asked for.
    fn end(self, whole: bool) -> Self::Heard;
}

/// The listener of a task that only tells that it advances.
struct Beats(Arc<Signs>);

impl Listener for Beats {
    type Heard = ();

    fn hear(&mut self, message: Message) -> bool {
        let beat = matches!(message, Message::Beat);
        self.0.beats.fetch_add(u64::from(beat), Ordering::Relaxed);
        beat
    }

    fn end(self, _: bool) {}
}

impl RenderProcesses {
    /// Of a node with these settings. The first task starts the template.
    pub fn new(settings: &ProcessesSettings) -> Self {
        Self {
            template: Arc::new(KeptTemplate::new(TEMPLATE_ARGUMENT, |name| VARIABLES.contains(&name))),
            memory_bytes: u64::from(settings.memory_mb) << 20,
            stall: Duration::from_secs_f64(settings.stall_s),
        }
    }

    /// Starts a process that does nothing.
    ///
    /// # Errors
    /// When processes cannot be confined on this machine: no tenant's file is opened then.
    pub async fn check(&self) -> Result<(), ProcessError> {
        let (task, doing) = (Task::Check, Task::Check.doing());
        match self.call(task, Patience::in_all(self.stall)).await? {
            (Answer::Confined { files: true }, _) => Ok(()),
            (Answer::Confined { files: false }, _) => {
                tracing::warn!(
                    "this kernel has no Landlock (Linux 5.13): a render process could read other files of this user"
                );
                Ok(())
            }
            _ => Err(ProcessError::WrongAnswer { doing }),
        }
    }

    /// Reads a file's header and decodes one frame.
    ///
    /// # Errors
    /// See [`ProcessError`].
    pub async fn inspect(&self, path: &Path) -> Result<Probe, ProcessError> {
        let task = Task::Inspect { path: path.to_owned() };
        let doing = task.doing();
        let (answer, _) = self.call(task, Patience::in_all(INSPECTION.min(self.stall))).await?;
        parse(&answer, doing)
    }

    /// Decodes a whole file. Returns what was found, as JSON.
    ///
    /// # Errors
    /// See [`ProcessError`].
    pub async fn scan(&self, path: &Path) -> Result<serde_json::Value, ProcessError> {
        let task = Task::Scan { path: path.to_owned() };
        let doing = task.doing();
        let (answer, _) = self.call(task, Patience::while_it_advances(self.stall)).await?;
        parse(&answer, doing)
    }

    /// Builds the frame index of a file, or of what lies between two moments in it, in seconds.
    ///
    /// # Errors
    /// See [`ProcessError`]; [`MediaError::Cancelled`] when `stop` was set meanwhile.
    pub async fn index(
        &self,
        path: &Path,
        around: Option<(f64, f64)>,
        stop: &Arc<AtomicBool>,
    ) -> Result<FrameIndex, ProcessError> {
        let task = Task::Index { path: path.to_owned(), around };
        let doing = task.doing();
        let patience = Patience::while_it_advances(self.stall).unless_set(stop);
        match self.call(task, patience).await? {
            (Answer::Index(bytes), _) => {
                let read = blocking("reading an index", move || FrameIndex::from_bytes(&bytes)).await?;
                read.map_err(|_| ProcessError::WrongAnswer { doing })
            }
            _ => Err(ProcessError::WrongAnswer { doing }),
        }
    }

    /// One displayed frame as JPEG.
    ///
    /// # Errors
    /// See [`ProcessError`].
    pub async fn thumbnail(&self, task: PictureTask) -> Result<Vec<u8>, ProcessError> {
        let task = Task::Picture(PictureTask { jpeg: true, ..task });
        let doing = task.doing();
        match self.call(task, Patience::in_all(self.stall)).await? {
            (Answer::Jpeg(bytes), _) => Ok(bytes),
            _ => Err(ProcessError::WrongAnswer { doing }),
        }
    }

    /// One displayed frame.
    ///
    /// # Errors
    /// See [`ProcessError`].
    pub async fn picture(&self, task: PictureTask) -> Result<RgbImage, ProcessError> {
        let (width, height) = task.size;
        let task = Task::Picture(PictureTask { jpeg: false, ..task });
        let doing = task.doing();
        let (Answer::Picture, process) = self.call(task, Patience::in_all(self.stall)).await? else {
            return Err(ProcessError::WrongAnswer { doing });
        };
        let mut picture = RgbImage::new(width, height);
        let read = process.exchange.read(0, &mut picture.data);
        read.map_err(|source| ProcessError::NotStarted { doing, source })?;
        Ok(picture)
    }

    /// For how long a task may go on without a sign that it advances.
    pub(super) fn stall(&self) -> Duration {
        self.stall
    }

    /// Does a task that only tells that it advances. Returns the answer, and the process, which has done its work.
    async fn call(&self, task: Task, patience: Patience) -> Result<(Answer, Arc<Process>), ProcessError> {
        let (answer, process, ()) = self.follow(task, patience, None, |started| Ok(Beats(started.signs))).await?;
        Ok((answer, process))
    }

    /// Does `task` in a process of its own, with a listener that is made on the thread which listens: one of its own
    /// where `thread` names it. Returns the answer, the process, which has done its work, and what was heard. The process
    /// is killed when the caller stops waiting.
    pub(super) async fn follow<L: Listener>(
        &self,
        task: Task,
        patience: Patience,
        thread: Option<String>,
        listen: impl FnOnce(Started) -> std::io::Result<L> + Send + 'static,
    ) -> Result<(Answer, Arc<Process>, L::Heard), ProcessError> {
        let (doing, name) = (task.doing(), task.name());
        let outcome = self.perform(task, patience, thread, listen).await;
        let end = match &outcome {
            Ok(_) => "answered",
            Err(ProcessError::Media(MediaError::Cancelled)) => "stopped",
            Err(ProcessError::Media(_) | ProcessError::Render(_)) => "refused",
            Err(ProcessError::Crashed { .. }) => "crashed",
            Err(ProcessError::Late { .. }) => "killed",
            Err(_) => "failed",
        };
        metrics::counter!("touchline_render_processes_total", "task" => name, "end" => end).increment(1);
        if let Err(error @ (ProcessError::Crashed { .. } | ProcessError::Late { .. })) = &outcome {
            tracing::warn!(task = name, %error, doing, "a render process failed");
        }
        outcome
    }

    async fn perform<L: Listener>(
        &self,
        task: Task,
        patience: Patience,
        thread: Option<String>,
        listen: impl FnOnce(Started) -> std::io::Result<L> + Send + 'static,
    ) -> Result<(Answer, Arc<Process>, L::Heard), ProcessError> {
        let doing = task.doing();
        let order = Order { task, log: Threshold::current(), trace: !Slice::Mux.span().is_disabled() };
        let process = Arc::new(self.spawn(&order.task).await?);
        let watch = Watch::start(process.killer(), patience);
        let (signs, ender, traced) = (Arc::clone(&watch.signs), watch.ender(), order.trace);
        let started = Started { process, signs, ender, traced };
        let talk = move || converse(started, &order, listen);
        let talked = match thread {
            Some(name) => threads::named(name, talk).await?,
            None => blocking(doing, talk).await?,
        };
        let broken = match talked {
            Ok(Talk { done: Ok(answer), process, heard }) => return Ok((answer, process, heard)),
            // Only this node cancels.
            Ok(Talk { done: Err(RenderError::Media(MediaError::Cancelled)), .. }) => Broken::Nonsense,
            Ok(Talk { done: Err(error), .. }) => return Err(error.into()),
            Err(broken) => broken,
        };
        Err(match (watch.why(doing), broken) {
            (Some(why), _) => why,
            (None, Broken::Ended(exit)) => ProcessError::Crashed { doing, exit },
            (None, Broken::Nonsense) => ProcessError::WrongAnswer { doing },
            (None, Broken::NotFollowed(source)) => ProcessError::NotStarted { doing, source },
        })
    }

    /// Starts a process for `task`.
    async fn spawn(&self, task: &Task) -> Result<Process, ProcessError> {
        let (doing, bytes) = (task.doing(), task.exchange_bytes());
        let (template, confinement) = (Arc::clone(&self.template), self.confinement(task));
        let spawned = blocking(doing, move || template.spawn(&confinement, bytes)).await?;
        spawned.map_err(|source| ProcessError::NotStarted { doing, source })
    }

    fn confinement(&self, task: &Task) -> Confinement {
        Confinement {
            access: Some(task.access()),
            limits: Limits {
                memory_bytes: self.memory_bytes.saturating_add(task.picture_bytes()),
                file_bytes: FILE_BYTES,
                cpu_seconds: CPU_SECONDS,
                open_files: task.open_files(),
            },
        }
    }
}

fn parse<T: DeserializeOwned>(answer: &Answer, doing: &'static str) -> Result<T, ProcessError> {
    let wrong = ProcessError::WrongAnswer { doing };
    match answer {
        Answer::Facts(json) => serde_json::from_str(json).map_err(|_| wrong),
        _ => Err(wrong),
    }
}

/// A conversation that came to its end.
struct Talk<H> {
    done: Result<Answer, RenderError>,
    process: Arc<Process>,
    heard: H,
}

/// How a conversation ended without an answer.
enum Broken {
    Ended(Exit),
    /// The process sent something that is no message, or that was not to come.
    Nonsense,
    /// The listener could not be made.
    NotFollowed(std::io::Error),
}

/// Sends the order and takes what comes, until the task is done. Blocks.
fn converse<L: Listener>(
    started: Started,
    order: &Order,
    listen: impl FnOnce(Started) -> std::io::Result<L>,
) -> Result<Talk<L::Heard>, Broken> {
    let process = Arc::clone(&started.process);
    let mut listener = listen(started).map_err(Broken::NotFollowed)?;
    let mut log = Repeat::of(order.task.name());
    let most = order.task.message_bounds();
    if process.channel.send(order).is_err() {
        // It may wait for an order that is too large to be sent.
        process.killer().kill();
        return Err(Broken::Ended(process.wait()));
    }
    loop {
        match process.channel.receive_within(most) {
            Ok(Some((Message::Done(done), attached))) => {
                let done = match done {
                    Ok(answer) => Ok(answer.with(attached).ok_or(Broken::Nonsense)?),
                    Err(error) if attached.is_empty() && error.to_string().len() <= MOST_REASON_BYTES => Err(error),
                    Err(_) => return Err(Broken::Nonsense),
                };
                // It has nothing left to do, and nothing to say to a listener that ends.
                process.killer().kill();
                // Until then it may write.
                process.wait();
                return Ok(Talk { heard: listener.end(done.is_ok()), done, process });
            }
            // Only an answer has something attached.
            Ok(Some((_, attached))) if !attached.is_empty() => return Err(Broken::Nonsense),
            Ok(Some((Message::Log(line), _))) => log.line(&line),
            Ok(Some((message, _))) => {
                if !listener.hear(message) {
                    return Err(Broken::Nonsense);
                }
            }
            Ok(None) => return Err(Broken::Ended(process.wait())),
            Err(error) if error.kind() == ErrorKind::Other => return Err(Broken::Nonsense),
            // It was killed in the middle of a message.
            Err(_) => return Err(Broken::Ended(process.wait())),
        }
    }
}
