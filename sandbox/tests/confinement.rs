//! Real processes: what they may do, what they may not, and what their owner sees of their end.
#![expect(unsafe_code, reason = "faults on purpose, as C libraries make them")]

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use sandbox::{Access, Confinement, Ended, Exit, Limits, Process, Task, Template};
use serde::{Deserialize, Serialize};

/// What a child is to try.
#[derive(Debug, Serialize, Deserialize)]
enum Attempt {
    Add(u32, u32),
    Mirror { bytes: u64 },
    Read(String),
    Write(String),
    Segfault,
    Abort,
    Panic,
    Loop,
    Allocate { mebibytes: usize },
    ShareMemory,
    Fork,
    Execute,
    Connect { port: u16 },
    Datagram { port: u16 },
    KillParent,
    OutliveParent,
    RaiseLimits,
    Thread,
    Chatter,
}

/// A test by its name.
type Test = (&'static str, fn(&Template));

const TEMPLATE: &str = "template";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == TEMPLATE) {
        let owner = arguments[2].parse().expect("the owner's process id");
        return sandbox::serve(owner, work);
    }
    // One after the other: some count the processes and descriptors that there are.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let program = std::env::current_exe().expect("this program's path");
    let template = Arc::new(Template::start(&program, &[TEMPLATE], &[]).expect("a template"));
    let tests: [Test; 11] = [
        ("messages_and_pictures_cross", messages_and_pictures_cross),
        ("only_the_files_of_the_task_can_be_opened", only_the_files_of_the_task_can_be_opened),
        ("nothing_reaches_beyond_the_task", nothing_reaches_beyond_the_task),
        ("without_restricted_access_limits_alone_hold", without_restricted_access_limits_alone_hold),
        ("its_last_words_are_the_last", its_last_words_are_the_last),
        ("a_fault_ends_only_its_own_process", a_fault_ends_only_its_own_process),
        ("limits_hold", limits_hold),
        ("a_kill_ends_it_at_once", a_kill_ends_it_at_once),
        ("a_dropped_process_is_gone", a_dropped_process_is_gone),
        ("threads_work", threads_work),
        ("nothing_is_left_of_a_thousand_processes", nothing_is_left_of_a_thousand_processes),
    ];
    let trial = |(name, test): Test| {
        let template = Arc::clone(&template);
        Trial::test(name, move || {
            test(&template);
            Ok(())
        })
    };
    let trials = tests.into_iter().map(trial).collect();
    let outcome = libtest_mimic::run(&arguments, trials);
    if let Some(template) = Arc::into_inner(template) {
        the_death_of_a_template_shows(&template);
    }
    outcome.exit_code()
}

// The child's side.

fn work(task: Task) {
    while let Ok(Some(trial)) = task.channel.receive::<Attempt>() {
        let answer = try_it(&task, trial);
        if task.channel.send(&answer).is_err() {
            return;
        }
    }
}

fn try_it(task: &Task, trial: Attempt) -> Result<String, String> {
    let told = |done: io::Result<()>| done.map(|()| "done".to_owned()).map_err(|error| error.to_string());
    match trial {
        Attempt::Add(a, b) => Ok((a + b).to_string()),
        Attempt::Mirror { bytes } => {
            let mut picture = vec![0; bytes as usize];
            let read = task.exchange.read(0, &mut picture);
            picture.reverse();
            told(read.and_then(|()| task.exchange.write(bytes, &picture)))
        }
        Attempt::Read(path) => fs::read_to_string(path).map_err(|error| error.to_string()),
        Attempt::Write(path) => told(fs::write(path, "written")),
        // SAFETY: none; the fault is what is asked for.
        Attempt::Segfault => unsafe {
            std::ptr::null_mut::<u8>().write_volatile(1);
            Ok(String::new())
        },
        Attempt::Abort => std::process::abort(),
        Attempt::Panic => panic!("on purpose"),
        Attempt::Loop => loop {
            std::hint::black_box(());
        },
        Attempt::Allocate { mebibytes } => {
            let mut all: Vec<u8> = Vec::new();
            let reserved = all.try_reserve_exact(mebibytes << 20).map_err(|error| error.to_string());
            reserved.map(|()| all.capacity().to_string())
        }
        Attempt::ShareMemory => {
            let (flags, access) = (libc::MAP_SHARED | libc::MAP_ANONYMOUS, libc::PROT_READ | libc::PROT_WRITE);
            // SAFETY: a new mapping at an address of the kernel's choice.
            let mapped = unsafe { libc::mmap(std::ptr::null_mut(), 1 << 30, access, flags, -1, 0) };
            // SAFETY: as for any call of the C library.
            let file = unsafe { libc::memfd_create(c"x".as_ptr(), 0) };
            if mapped == libc::MAP_FAILED && file < 0 { Err("refused".into()) } else { Ok("shared".into()) }
        }
        Attempt::Fork => {
            // SAFETY: a child, if there is one, ends at once.
            match unsafe { libc::fork() } {
                // SAFETY: as above.
                0 => unsafe { libc::_exit(0) },
                -1 => Err(io::Error::last_os_error().to_string()),
                _ => Ok("forked".into()),
            }
        }
        Attempt::Execute => {
            use std::os::unix::process::CommandExt;
            Err(std::process::Command::new("/bin/true").exec().to_string())
        }
        Attempt::Connect { port } => told(TcpStream::connect(("127.0.0.1", port)).map(|_| ())),
        Attempt::Datagram { port } => told(
            UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"x", ("127.0.0.1", port))).map(|_| ()),
        ),
        Attempt::KillParent => {
            // SAFETY: a call with numbers only.
            let killed = unsafe { libc::kill(libc::getppid(), libc::SIGKILL) };
            if killed == 0 { Ok("killed".into()) } else { Err(io::Error::last_os_error().to_string()) }
        }
        Attempt::OutliveParent => {
            // SAFETY: a call with numbers only.
            let set = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0) };
            if set == 0 { Ok("set".into()) } else { Err(io::Error::last_os_error().to_string()) }
        }
        Attempt::RaiseLimits => {
            let most = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
            // SAFETY: the pointer is to a value that lives through the call.
            let set = unsafe { libc::setrlimit(libc::RLIMIT_DATA, &most) };
            if set == 0 { Ok("raised".into()) } else { Err(io::Error::last_os_error().to_string()) }
        }
        Attempt::Chatter => {
            eprint!("{}the end", "x".repeat(10_000));
            Ok("written".into())
        }
        Attempt::Thread => {
            let thread = std::thread::Builder::new().name("decode-0".into()).spawn(|| 7);
            Ok(thread.map_err(|error| error.to_string())?.join().expect("it does not panic").to_string())
        }
    }
}

// The owner's side.

const LIMITS: Limits = Limits { memory_bytes: 512 << 20, file_bytes: 1 << 20, cpu_seconds: 60, open_files: 64 };

fn confined(read: &[&Path], work: Option<&Path>) -> Confinement {
    let read = read.iter().map(|path| path.to_path_buf()).collect();
    let access = Access { read, read_below: None, work: work.map(Path::to_path_buf) };
    Confinement { access: Some(access), limits: LIMITS }
}

fn process(template: &Template) -> Process {
    template.spawn(&confined(&[], None), 1 << 20).expect("a process")
}

fn ask(process: &Process, trial: Attempt) -> Result<String, String> {
    process.channel.send(&trial).expect("it listens");
    let answer = process.channel.receive::<Result<String, String>>().expect("an answer");
    answer.unwrap_or_else(|| panic!("it is gone: {}", process.wait()))
}

/// The end of a process that gives no answer.
fn end_of(template: &Template, trial: Attempt) -> Exit {
    let process = process(template);
    process.channel.send(&trial).expect("it listens");
    assert!(!matches!(process.channel.receive::<Result<String, String>>(), Ok(Some(_))), "it ended before");
    process.wait()
}

fn messages_and_pictures_cross(template: &Template) {
    let process = process(template);
    assert_eq!(ask(&process, Attempt::Add(2, 3)), Ok("5".into()));
    let picture: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    process.exchange.write(0, &picture).unwrap();
    assert_eq!(ask(&process, Attempt::Mirror { bytes: 300_000 }), Ok("done".into()));
    let mut mirrored = vec![0; 300_000];
    process.exchange.read(300_000, &mut mirrored).unwrap();
    mirrored.reverse();
    assert_eq!(mirrored, picture);
    process.channel.close();
    assert_eq!(process.wait().ended, Ended::Status(0));
}

fn only_the_files_of_the_task_can_be_opened(template: &Template) {
    let folder = tempfile::tempdir().unwrap();
    let (mine, others) = (folder.path().join("mine"), folder.path().join("others"));
    fs::write(&mine, "mine").unwrap();
    fs::write(&others, "others").unwrap();
    let work = folder.path().join("work");
    fs::create_dir(&work).unwrap();
    let parts = folder.path().join("parts");
    fs::create_dir(&parts).unwrap();
    fs::write(parts.join("one"), "a part").unwrap();
    let mut confinement = confined(&[&mine], Some(&work));
    confinement.access.as_mut().unwrap().read_below = Some(parts.clone());
    let process = template.spawn(&confinement, 0).unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    assert_eq!(ask(&process, Attempt::Read(path(&mine))), Ok("mine".into()));
    assert_eq!(ask(&process, Attempt::Read(path(&parts.join("one")))), Ok("a part".into()));
    for denied in [path(&others), "/etc/passwd".into(), "/proc/1/environ".into(), "/proc/self/mem".into()] {
        let answer = ask(&process, Attempt::Read(denied.clone()));
        assert!(answer.as_ref().is_err_and(|error| error.contains("denied")), "{denied}: {answer:?}");
    }
    assert_eq!(ask(&process, Attempt::Write(path(&work.join("out")))), Ok("done".into()));
    assert_eq!(fs::read_to_string(work.join("out")).unwrap(), "written");
    for denied in [&mine, &others, &folder.path().join("new"), &parts.join("one"), &parts.join("two")] {
        assert!(ask(&process, Attempt::Write(path(denied))).is_err(), "{}", denied.display());
    }
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
}

fn nothing_reaches_beyond_the_task(template: &Template) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let process = process(template);
    for trial in [
        Attempt::Connect { port },
        Attempt::Datagram { port: datagrams.local_addr().unwrap().port() },
        Attempt::Fork,
        Attempt::Execute,
        Attempt::ShareMemory,
        Attempt::KillParent,
        Attempt::OutliveParent,
        Attempt::RaiseLimits,
    ] {
        let name = format!("{trial:?}");
        assert!(ask(&process, trial).is_err(), "{name} is let through");
    }
    assert_eq!(ask(&process, Attempt::Add(1, 1)), Ok("2".into()), "it lives");
}

fn without_restricted_access_limits_alone_hold(template: &Template) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "a model").unwrap();
    let limits = Limits { memory_bytes: 64 << 20, ..Limits::NONE };
    let process = template.spawn(&Confinement { access: None, limits }, 0).unwrap();
    assert_eq!(ask(&process, Attempt::Read(file.to_str().unwrap().to_owned())), Ok("a model".into()));
    assert!(ask(&process, Attempt::Allocate { mebibytes: 128 }).is_err(), "it is twice as much");
}

fn its_last_words_are_the_last(template: &Template) {
    let process = process(template);
    assert_eq!(ask(&process, Attempt::Chatter), Ok("written".into()));
    let words = process.words();
    assert!(words.len() <= 2048 && words.ends_with("xthe end"), "{words}");
    assert_eq!(process.words(), "");
    assert!(!process.has_ended());
    process.killer().kill();
    process.wait();
    assert!(process.has_ended());
}

fn a_fault_ends_only_its_own_process(template: &Template) {
    let beside = process(template);
    assert_eq!(end_of(template, Attempt::Segfault).ended, Ended::Signal(libc::SIGSEGV));
    assert_eq!(end_of(template, Attempt::Abort).ended, Ended::Signal(libc::SIGABRT));
    let panicked = end_of(template, Attempt::Panic);
    assert_eq!(panicked.ended, Ended::Status(101));
    assert!(panicked.last_words.contains("on purpose"), "{panicked}");
    assert_eq!(ask(&beside, Attempt::Add(20, 22)), Ok("42".into()));
}

fn limits_hold(template: &Template) {
    let process = process(template);
    assert!(ask(&process, Attempt::Allocate { mebibytes: 8 << 10 }).is_err());
    assert!(ask(&process, Attempt::Allocate { mebibytes: 100 }).is_ok());
    let order = Confinement { limits: Limits { cpu_seconds: 1, ..LIMITS }, ..confined(&[], None) };
    let busy = template.spawn(&order, 0).unwrap();
    busy.channel.send(&Attempt::Loop).unwrap();
    let ended = busy.wait().ended;
    assert!(matches!(ended, Ended::Signal(libc::SIGXCPU | libc::SIGKILL)), "{ended:?}");
}

fn a_kill_ends_it_at_once(template: &Template) {
    let process = process(template);
    process.channel.send(&Attempt::Loop).unwrap();
    process.killer().kill();
    assert_eq!(process.wait().ended, Ended::Signal(libc::SIGKILL));
    process.killer().kill();
}

fn a_dropped_process_is_gone(template: &Template) {
    // One that an earlier test dropped may not have been reaped yet.
    wait_until(|| children() == 0);
    let process = process(template);
    process.channel.send(&Attempt::Loop).unwrap();
    assert_eq!(children(), 1);
    drop(process);
    wait_until(|| children() == 0);
}

fn threads_work(template: &Template) {
    assert_eq!(ask(&process(template), Attempt::Thread), Ok("7".into()));
}

fn nothing_is_left_of_a_thousand_processes(template: &Template) {
    let open = open_files();
    let began = Instant::now();
    for n in 0..1000 {
        let process = process(template);
        assert_eq!(ask(&process, Attempt::Add(n, 1)), Ok((n + 1).to_string()));
        if n % 2 == 0 {
            process.channel.close();
            process.wait();
        }
    }
    println!("  {:.2} ms a process", began.elapsed().as_secs_f64());
    wait_until(|| children() == 0);
    assert_eq!(open_files(), open);
}

fn the_death_of_a_template_shows(template: &Template) {
    let process = process(template);
    process.channel.send(&Attempt::Loop).unwrap();
    let pid = template_pid();
    kill(pid);
    assert_eq!(process.wait().ended, Ended::WithTemplate);
    wait_until(|| template.spawn(&confined(&[], None), 0).is_err());
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The template, the one child of this process.
fn template_pid() -> u32 {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let children = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap());
    children.collect::<String>().trim().parse().expect("one template")
}

/// Processes of the template, dead ones that it has not reaped among them.
fn children() -> usize {
    let pid = template_pid();
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap().split_whitespace().count()
}

fn kill(pid: u32) {
    // SAFETY: a call with numbers only.
    unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
}

fn wait_until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "it did not happen in ten seconds");
        std::thread::sleep(Duration::from_millis(5));
    }
}
