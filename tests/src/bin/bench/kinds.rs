//! Overlay, annotated, clip and detection against what people use instead: the ffmpeg program, and single calls.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use touchline_tests::client::Client;
use touchline_tests::ffmpeg::ffmpeg;
use touchline_tests::server::Server;

use super::Bench;
use super::pairs::{compare, run};

/// How both sides encode.
const ENCODE: &str = "-c:v libx264 -preset fast -crf 23 -g 25 -keyint_min 25 -sc_threshold 0 -threads 1";

impl Bench {
    /// A 2 s spotlight on 20 s at 1080p, against encoding all of it again.
    pub fn smart_render(&mut self) -> Result<()> {
        let source = self.filmed("smart", "1920x1080", 20)?;
        let spec = self.spec("smart", &spotlight(8.2, 10.2))?;
        let ratio = self.overlay_against_ffmpeg(&source, &spec, self.pairs.unwrap_or(7))?;
        let saving = 1.0 / ratio;
        self.note(
            "smart render of 2 s in 20 s: CPU of encoding all",
            format!("{saving:.1}x less"),
            ">= 4x",
            saving >= 4.0,
        );
        Ok(())
    }

    /// A spotlight from the first frame to the last, against decoding and encoding alone.
    pub fn full_overlay(&mut self) -> Result<()> {
        let source = self.filmed("full", "1920x1080", 12)?;
        // Darkening the picture would make it cheaper to store, so only the ring is drawn.
        let mut ring = spotlight(0.0, 12.0);
        ring["effect"] = json!("none");
        let spec = self.spec("full", &ring)?;
        let ratio = self.overlay_against_ffmpeg(&source, &spec, self.pairs.unwrap_or(7))?;
        self.note("overlay on every frame: CPU of bare ffmpeg", format!("{ratio:.3}x"), "<= 1.15x", ratio <= 1.15);
        let bytes = |name: &str| std::fs::metadata(self.at(name)).map(|file| file.len() as f64);
        let rate = bytes("ours.mp4")? / bytes("theirs.mp4")?;
        let close = (rate - 1.0).abs() <= 0.02;
        self.note("overlay on every frame: bit rate against ffmpeg's", format!("{rate:.3}x"), "within 2 %", close);
        Ok(())
    }

    /// The ratio of CPU time.
    fn overlay_against_ffmpeg(&self, source: &Path, spec: &Path, pairs: usize) -> Result<f64> {
        let arguments = self.arguments(&[source, spec]);
        let ours = || {
            run(
                &format!(
                    "\"$1\" render overlay --input \"$2\" --spec \"$3\" --output \"{}\" >/dev/null",
                    self.shown("ours.mp4")
                ),
                &arguments,
            )
        };
        let theirs = || {
            let out = self.shown("theirs.mp4");
            run(&format!("ffmpeg -v error -y -threads 1 -i \"$2\" {ENCODE} -c:a copy \"{out}\""), &arguments)
        };
        Ok(compare(pairs, ours, theirs)?.cpu)
    }

    /// Eight clips of 5 s with cards, against one ffmpeg a clip with drawbox and drawtext, then concat.
    pub fn annotated(&mut self) -> Result<()> {
        let source = self.filmed("notes", "1920x1080", 60)?;
        let starts: Vec<f64> = (0..8).map(|n| 1.32 + 7.0 * f64::from(n)).collect();
        let noted = |start: &f64| json!({"start": start, "end": start + 5.0, "name": "Through ball", "notes": "Far post", "rating": 5});
        let spec = self.spec("notes", &json!({"clips": starts.iter().map(noted).collect::<Vec<_>>()}))?;
        let arguments = self.arguments(&[&source, &spec]);
        let (ours, theirs) = (self.shown("ours.mp4"), self.shown("theirs.mp4"));
        let script = usual_script(&starts, &self.shown("part"), &theirs);
        let took = compare(
            self.pairs.unwrap_or(3),
            || {
                run(
                    &format!("\"$1\" render annotated --input \"$2\" --spec \"$3\" --output \"{ours}\" >/dev/null"),
                    &arguments,
                )
            },
            || run(&script, &arguments),
        )?;
        self.note(
            "8 annotated clips: CPU of the usual script",
            format!("{:.3}x", took.cpu),
            "<= 1.0x",
            took.cpu <= 1.0,
        );
        self.note(
            "8 annotated clips: wall time of the usual script",
            format!("{:.3}x", took.wall),
            "<= 0.9x",
            took.wall <= 0.9,
        );
        let (mine, other) =
            (self.likeness(&source, &starts, "ours.mp4")?, self.likeness(&source, &starts, "theirs.mp4")?);
        let found = format!("{mine:.2} and {other:.2} dB");
        self.note(
            "8 annotated clips: PSNR below the card, and the script's",
            found,
            "not lower",
            mine >= other - 0.005,
        );
        Ok(())
    }

    /// PSNR of a compilation against its clips, below the cards.
    fn likeness(&self, source: &Path, starts: &[f64], name: &str) -> Result<f64> {
        let spans: Vec<_> = starts.iter().map(|start| format!("gte(t,{start})*lt(t,{})", start + 5.0)).collect();
        let below = "crop=iw:ih-120:0:120";
        let filter = format!(
            "[0:v]select='{}',setpts=N/25/TB,{below}[a];[1:v]setpts=N/25/TB,{below}[b];[a][b]psnr",
            spans.join("+")
        );
        let output = std::process::Command::new("ffmpeg")
            .args(["-hide_banner", "-nostdin", "-i"])
            .arg(source)
            .arg("-i")
            .arg(self.at(name))
            .args(["-filter_complex", &filter, "-f", "null", "-"])
            .output()
            .context("running ffmpeg; scripts/setup installs it")?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        let average = stderr.split("average:").nth(1).and_then(|rest| rest.split(' ').next());
        average.context("ffmpeg printed no PSNR")?.parse().context("reading a PSNR")
    }

    /// Ten seconds copied out of two hours.
    pub fn clip_copy(&mut self) -> Result<()> {
        let minute = self.filmed("minute", "1280x720", 60)?;
        let source = self.at("hours.mp4");
        let (from, to) = (minute.display().to_string(), source.display().to_string());
        ffmpeg(["-stream_loop", "119", "-i", &from, "-c", "copy", &to])?;
        let spec = self.spec("clip", &json!({"start": 5025.3, "end": 5035.3}))?;
        let arguments = self.arguments(&[&source, &spec]);
        let (out, report) = (self.shown("ours.mp4"), self.at("report.json"));
        let script =
            format!("\"$1\" render clip --input \"$2\" --spec \"$3\" --output \"{out}\" > \"{}\"", report.display());
        let took = run(&script, &arguments)?;
        let report: Value = serde_json::from_slice(&std::fs::read(&report)?)?;
        let megabytes = super::peak(&report)? / 1e6;
        let bytes = std::fs::metadata(&source)?.len() as f64 / 1e9;
        let what = format!("10 s copied out of 2 h ({bytes:.1} GB)");
        self.note(&format!("{what}: wall time"), format!("{:.2} s", took.wall), "< 1 s", took.wall < 1.0);
        self.note(&format!("{what}: peak memory"), format!("{megabytes:.0} MB"), "< 100 MB", megabytes < 100.0);
        Ok(())
    }

    /// Sixty moments of two minutes searched for people, as one export and one by one.
    pub async fn batch_detection(&mut self) -> Result<()> {
        let file = self.at("people.mp4");
        let name = file.display().to_string();
        // OpenCV's people, at 25 frames a second and x264's usual distance between key frames.
        let filmed = "-stream_loop 4 -i /usr/share/doc/opencv-doc/examples/data/vtest.avi -t 120 -vf scale=1280:960 -r 25 -c:v libx264 -preset fast -crf 23";
        ffmpeg(filmed.split(' ').chain([name.as_str()]))?;
        let server = Server::start(&[]).await?;
        let account = server.account("club", "coach@club.example", "editor")?;
        let client = Client::log_in(&server.url(), &account.email, &account.password).await?;
        let video = client.upload(&file, 1 << 22, |_, _| {}).await?.id;
        let times: Vec<f64> = (0..60).map(|n| 2.0 * f64::from(n) + 0.5).collect();
        let path = format!("/videos/{video}/detections/frame");
        // The detector is loaded and both cores are awake.
        client.post::<Value>(&path, &json!({"time": 0.0})).await?;

        let began = Instant::now();
        for time in &times {
            client.post::<Value>(&path, &json!({ "time": time })).await?;
        }
        let singly = began.elapsed().as_secs_f64();
        let began = Instant::now();
        client.render(&json!({"kind": "detection", "video_id": video, "times": times}), |_| {}).await?;
        let batch = began.elapsed().as_secs_f64();
        let ratio = singly / batch;
        let what = format!("60 detections in 2 minutes: {singly:.1} s one by one, {batch:.1} s as an export");
        self.note(&what, format!("{ratio:.1}x faster"), ">= 3x", ratio >= 3.0);
        Ok(())
    }

    /// A moving picture with grain, as cameras make, with sound; a key frame every second.
    fn filmed(&self, name: &str, size: &str, seconds: u32) -> Result<PathBuf> {
        let path = self.at(&format!("{name}.mp4"));
        let picture = format!("testsrc2=size={size}:rate=25:duration={seconds},noise=alls=6:allf=t,format=yuv420p");
        let sound = format!("sine=frequency=440:duration={seconds}");
        let out = path.display().to_string();
        let encode = "-c:v libx264 -preset fast -crf 23 -g 25 -keyint_min 25 -sc_threshold 0 -c:a aac";
        let inputs = ["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &sound];
        ffmpeg(inputs.into_iter().chain(encode.split(' ')).chain([out.as_str()]))?;
        Ok(path)
    }

    fn spec(&self, name: &str, spec: &Value) -> Result<PathBuf> {
        let path = self.at(&format!("{name}.json"));
        std::fs::write(&path, spec.to_string())?;
        Ok(path)
    }

    /// The program, then these files.
    fn arguments(&self, files: &[&Path]) -> Vec<String> {
        std::iter::once(self.touchline.as_path())
            .chain(files.iter().copied())
            .map(|path| path.display().to_string())
            .collect()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }
}

fn spotlight(start: f64, end: f64) -> Value {
    let key = |time: f64, x: f64| json!({"time": time, "x": x, "y": 520, "radius_x": 80, "radius_y": 150});
    json!({"regions": [{"start": start, "end": end, "space": {"width": 1920, "height": 1080},
        "keyframes": [key(start, 900.0), key(end, 1100.0)]}]})
}

/// What people write today: a card drawn by ffmpeg's filters on each clip, then the concat demuxer.
fn usual_script(starts: &[f64], part: &str, out: &str) -> String {
    let font = "fontfile=/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";
    let card = format!(
        "drawbox=x=192:y=10:w=1536:h=80:color=white@0.95:t=fill,drawbox=x=192:y=10:w=1536:h=80:color=0x66BB6A:t=4,\
         drawtext={font}:text='!!  Through ball':fontsize=24:fontcolor=black:x=(w-text_w)/2:y=20,\
         drawtext={font}:text='Far post':fontsize=16:fontcolor=0x333333:x=(w-text_w)/2:y=50"
    );
    let mut script = format!("rm -f \"{part}.txt\"\n");
    for (n, start) in starts.iter().enumerate() {
        script += &format!(
            "ffmpeg -v error -y -ss {start} -t 5 -i \"$2\" -vf \"{card}\" -c:v libx264 -preset fast -crf 23 -g 25 \
             -keyint_min 25 -sc_threshold 0 -c:a aac -b:a 128k \"{part}{n}.mp4\"\necho \"file '{part}{n}.mp4'\" >> \"{part}.txt\"\n"
        );
    }
    script + &format!("ffmpeg -v error -y -f concat -safe 0 -i \"{part}.txt\" -c copy -movflags +faststart \"{out}\"")
}
