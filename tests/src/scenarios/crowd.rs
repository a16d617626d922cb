//! What scenarios of several tenants share: a server with simulated devices, tenants with footage, and what the
//! server says of them.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::client::{Client, answered, is_terminal};
use crate::footage;
use crate::server::{Server, metrics};

const OPERATOR: (&str, &str) = ("operator@example.com", "a-password-for-tests");
/// Frames a second of the footage and of what is made from it: a segment of a second has as many.
pub const FPS: u32 = 10;

/// A tenant with one video.
pub struct Club {
    pub tenant: String,
    pub client: Client,
    pub video: String,
}

/// Starts a server with so many simulated devices, each of which takes `frame_ms` for a frame, segments of a second,
/// and an operator.
pub async fn server(devices: u32, frame_ms: f64) -> Result<(Server, Client)> {
    server_with(devices, frame_ms, &[]).await
}

/// [`server`] with further variables in its environment.
pub async fn server_with(devices: u32, frame_ms: f64, further: &[(&str, &str)]) -> Result<(Server, Client)> {
    let folder = tempfile::tempdir()?;
    let (mut server, operator) = server_in(folder.path(), devices, frame_ms, further).await?;
    server.keep(folder);
    Ok((server, operator))
}

/// [`server_with`] on the data in a folder of the caller's.
pub async fn server_in(
    folder: &Path,
    devices: u32,
    frame_ms: f64,
    further: &[(&str, &str)],
) -> Result<(Server, Client)> {
    let names: Vec<_> = (0..devices).map(|number| format!("sim:{number}")).collect();
    let variables = [
        ("TOUCHLINE__DEVICES__LIST", json!(names).to_string()),
        ("TOUCHLINE__DEVICES__SIM_FRAME_MS", format!("{frame_ms:?}")),
        ("TOUCHLINE__SEGMENTS__SECONDS", "1.0".to_owned()),
        ("TOUCHLINE_ADMIN_EMAIL", OPERATOR.0.to_owned()),
        ("TOUCHLINE_ADMIN_PASSWORD", OPERATOR.1.to_owned()),
    ];
    let own = variables.iter().map(|(name, value)| (*name, value.as_str()));
    let variables: Vec<_> = own.chain(further.iter().copied()).collect();
    let server = Server::start_in(folder, &variables).await?;
    let operator = Client::log_in(&server.url(), OPERATOR.0, OPERATOR.1).await?;
    Ok((server, operator))
}

/// Makes footage of so many seconds.
pub fn footage(file: &Path, seconds: u32) -> Result<()> {
    footage::stamped(file, &FPS.to_string(), seconds, None, &["-c:v", "libx264", "-preset", "ultrafast", "-an"])
}

/// Makes a tenant that has uploaded `file`, as an editor of it.
pub async fn club(server: &Server, name: &str, file: &Path) -> Result<Club> {
    club_as(server, name, "editor", file).await
}

/// [`club`] as a user of another role.
pub async fn club_as(server: &Server, name: &str, role: &str, file: &Path) -> Result<Club> {
    let account = server.account(name, &format!("coach@{name}.example"), role)?;
    let client = Client::log_in(&server.url(), &account.email, &account.password).await?;
    let video = client.upload(file, 1 << 20, |_, _| {}).await?.id;
    Ok(Club { tenant: account.tenant_id, client, video })
}

impl Club {
    /// Starts an export of the first `seconds`, in which each frame is inferred; its id.
    pub async fn start(&self, seconds: u32) -> Result<String> {
        let clip = json!({"video_id": self.video, "start": 0.0, "end": f64::from(seconds), "crop": [
            {"time": 0.0, "x": 20.0, "y": 20.0, "width": 180.0, "height": 320.0},
            {"time": f64::from(seconds), "x": 300.0, "y": 20.0, "width": 180.0, "height": 320.0},
        ]});
        let spec = json!({
            "kind": "framing", "clips": [clip], "output": {"width": 270, "height": 480, "fps": FPS},
            "upscale": {"quality": "draft"}, "detect": {"rule": "none"},
        });
        Ok(self.client.start(&spec).await?.id)
    }

    /// Detects persons in one frame now.
    ///
    /// # Errors
    /// A [`Refusal`](crate::client::Refusal) for every answer that is not a success.
    pub async fn detect(&self, frame: u32) -> Result<Response> {
        let request = self.client.request(Method::POST, &format!("/videos/{}/detections/frame", self.video));
        answered(request.json(&json!({"frame": frame})).send().await?).await
    }

    /// How many of these exports have not ended.
    pub async fn unfinished(&self, exports: &[String]) -> Result<usize> {
        let mut unfinished = 0;
        for export in exports {
            let state = self.client.export(export).await?.state;
            unfinished += usize::from(!is_terminal(&state));
        }
        Ok(unfinished)
    }

    /// Waits for the end of an export, which must be complete; seconds from its acceptance to its end, and its row.
    pub async fn finished(&self, export: &str) -> Result<(f64, Value)> {
        self.client.watch(export, |_| {}).await?;
        let row: Value = self.client.get(&format!("/exports/{export}")).await?;
        ensure!(row["state"] == "complete", "an export is {}: {}", row["state"], row["problem"]);
        let (began, ended) = (moment(&row, "created_at")?, moment(&row, "finished_at")?);
        Ok(((ended - began).as_seconds_f64(), row))
    }
}

/// A time of a row.
pub fn moment(row: &Value, field: &str) -> Result<DateTime<Utc>> {
    let text = row[field].as_str().with_context(|| format!("the row has no {field}"))?;
    Ok(text.parse()?)
}

/// Sets a tenant's weight.
pub async fn weigh(operator: &Client, tenant: &str, weight: f64) -> Result<()> {
    let request = operator.request(Method::PATCH, &format!("/admin/tenants/{tenant}"));
    answered(request.json(&json!({"weight": weight})).send().await?).await?;
    Ok(())
}

/// The values of a metric by the value of one of its labels.
pub async fn metric_by(server: &Server, name: &str, label: &str) -> Result<HashMap<String, f64>> {
    let text = metrics(&server.url()).await?;
    let line = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let labels = series.strip_prefix(name)?.strip_prefix('{')?;
        let label = labels.split_once(&format!("{label}=\""))?.1.split('"').next()?;
        Some((label.to_owned(), value.parse().ok()?))
    };
    Ok(text.lines().filter_map(line).collect())
}
