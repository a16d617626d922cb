//! Models as operators see them: which there are, which devices have loaded them, which are the defaults.

use anyhow::{Context, Result};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use touchline_tests::client::{Client, Refusal, answered};
use touchline_tests::process::{children, device_template};
use touchline_tests::server::Server;

const OPERATOR: (&str, &str) = ("operator@example.com", "a-password-for-tests");
const OTHER: &str = "realesrgan-x4plus";

/// The devices that have loaded a model.
async fn loaded_on(operator: &Client, model: &str) -> Result<Value> {
    let list: Value = operator.get("/admin/models").await?;
    let found = list["items"].as_array().context("items")?.iter().find(|entry| entry["name"] == model);
    Ok(found.with_context(|| format!("{model} is not listed"))?["loaded_on"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed_loaded_and_chosen() -> Result<()> {
    let server = Server::start(&[
        ("TOUCHLINE__DEVICES__LIST", r#"["cpu:0"]"#),
        ("TOUCHLINE_ADMIN_EMAIL", OPERATOR.0),
        ("TOUCHLINE_ADMIN_PASSWORD", OPERATOR.1),
    ])
    .await?;
    let operator = Client::log_in(&server.url(), OPERATOR.0, OPERATOR.1).await?;
    let list: Value = operator.get("/admin/models").await?;
    let all = list["items"].as_array().context("items")?;
    assert!(all.iter().all(|model| model["verified"] == true), "{list}");
    let defaults: Vec<_> = all.iter().filter(|model| model["default"] == true).collect();
    assert_eq!(defaults.len(), 2, "{list}");
    assert!(defaults.iter().all(|model| model["loaded_on"] == json!(["cpu:0"])), "{list}");

    // Loaded on request, by the device and not by an export.
    assert_eq!(loaded_on(&operator, OTHER).await?, json!([]));
    answered(operator.request(Method::POST, &format!("/admin/models/{OTHER}/load")).send().await?).await?;
    let mut tries = 0;
    while loaded_on(&operator, OTHER).await? != json!(["cpu:0"]) {
        tries += 1;
        anyhow::ensure!(tries < 3000, "it is not loaded: {}", server.log());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let unknown = operator.request(Method::POST, "/admin/models/unknown/load").send().await?;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);

    // A default has to be there, and to do what is wanted; a tenant may have its own.
    let change = async |path: &str, body: Value| {
        let request = operator.request(Method::PATCH, path).header("If-Match", "*").json(&body);
        anyhow::Ok(answered(request.send().await?).await?.json::<Value>().await?)
    };
    for wrong in ["unknown", "nanodet-g"] {
        let refused = change("/admin/config", json!({"upscale": {"model": wrong}})).await;
        let refused = refused.expect_err(wrong).downcast::<Refusal>()?;
        assert_eq!(
            (refused.status, &refused.problem["errors"][0]["code"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("unknown_model"))
        );
    }
    let changed = change("/admin/config", json!({"upscale": {"model": OTHER}})).await?;
    assert_eq!(changed["upscale"]["model"], OTHER);
    let account = server.account("club", "coach@club.example", "editor")?;
    let path = format!("/admin/tenants/{}", account.tenant_id);
    let tenant = change(&path, json!({"models": {"upscale": "realesr-animevideov3-x4"}})).await?;
    assert_eq!(tenant["models"], json!({"upscale": "realesr-animevideov3-x4", "detect": null}));
    let refused = change(&path, json!({"models": {"detect": OTHER}})).await.expect_err("no detector");
    assert_eq!(refused.downcast::<Refusal>()?.status, StatusCode::UNPROCESSABLE_ENTITY);
    Ok(())
}

/// A library or a driver that crashes while it is measured must not take the server with it.
#[tokio::test(flavor = "multi_thread")]
async fn models_are_measured_in_a_device_process() -> Result<()> {
    let installed = touchline_tests::repository().join("models");
    // The same models in another folder, where nothing was measured yet.
    let models = tempfile::tempdir()?;
    let weights = models.path().join("weights");
    std::fs::create_dir(&weights)?;
    std::fs::copy(installed.join("manifest.toml"), models.path().join("manifest.toml"))?;
    std::os::unix::fs::symlink(installed.join("runtime"), models.path().join("runtime"))?;
    for file in std::fs::read_dir(installed.join("weights"))? {
        let file = file?;
        if file.path().extension().is_some_and(|extension| extension == "onnx") {
            std::os::unix::fs::symlink(file.path(), weights.join(file.file_name()))?;
        }
    }
    let folder = format!("{:?}", weights.to_str().context("the folder's name is text")?);
    let server =
        Server::start(&[("TOUCHLINE__DEVICES__LIST", r#"["cpu:0"]"#), ("TOUCHLINE__MODELS__DIR", &folder)]).await?;

    let kept: Value = serde_json::from_slice(&std::fs::read(weights.join("profiles.json"))?)?;
    assert_eq!(kept["choices"].as_array().context("choices")?.len(), 2, "upscaler and detector: {kept}");
    let maps = |process: u32| anyhow::Ok(std::fs::read_to_string(format!("/proc/{process}/maps"))?);
    assert!(!maps(server.id())?.contains("onnxruntime"), "the server has loaded it");
    let template = device_template(server.id())?.context("no template of device processes")?;
    let devices = children(template)?;
    assert_eq!(devices.len(), 1, "those that measured have ended");
    assert!(maps(devices[0])?.contains("onnxruntime"), "the device's process has not loaded it");
    Ok(())
}
