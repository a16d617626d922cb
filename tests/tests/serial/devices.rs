//! Broken, slow and drained devices, and who may do something to them.

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use touchline_tests::client::Client;
use touchline_tests::scenarios::{assert_met, devices, scaling};
use touchline_tests::server::Server;

#[tokio::test]
async fn an_export_completes_on_the_devices_that_are_left() -> Result<()> {
    let _turn = crate::turn().await;
    assert_met(&devices::run(devices::Size::TEST).await?);
    Ok(())
}

#[tokio::test]
async fn cancelling_takes_effect_within_one_batch() -> Result<()> {
    let _turn = crate::turn().await;
    assert_met(&devices::cancel().await?);
    Ok(())
}

#[tokio::test]
async fn the_time_of_devices_does_not_grow_with_their_number() -> Result<()> {
    let _turn = crate::turn().await;
    assert_met(&scaling::run(scaling::Size::TEST).await?);
    Ok(())
}

/// Checks go in order: 401, 403 by role, 404.
#[tokio::test]
async fn only_the_operator_sees_and_operates_devices() -> Result<()> {
    let _turn = crate::turn().await;
    let server = Server::start(&[("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#)]).await?;
    let calls = [
        (Method::GET, "/admin/devices"),
        (Method::POST, "/admin/devices/sim:0/drain"),
        (Method::POST, "/admin/devices/sim:0/disable"),
        (Method::POST, "/admin/devices/sim:0/enable"),
        (Method::POST, "/admin/devices/sim:9/enable"),
    ];
    let admin = server.account("club", "admin@club.example", "admin")?;
    let admin = Client::log_in(&server.url(), &admin.email, &admin.password).await?;
    let anonymous = Client::with_token(&server.url(), "");
    for (method, path) in &calls {
        assert_eq!(anonymous.request(method.clone(), path).send().await?.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(admin.request(method.clone(), path).send().await?.status(), StatusCode::FORBIDDEN, "{path}");
    }

    let operator = server.account("house", "operator@house.example", "operator")?;
    let operator = Client::log_in(&server.url(), &operator.email, &operator.password).await?;
    let listed: Value = operator.get("/admin/devices").await?;
    assert_eq!((&listed["items"][0]["id"], &listed["items"][0]["health"]), (&json!("sim:0"), &json!("ready")));
    for operation in ["drain", "disable", "enable"] {
        let unknown = operator.request(Method::POST, &format!("/admin/devices/sim:9/{operation}")).send().await?;
        assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    }
    let drained: Value = operator.post("/admin/devices/sim:0/drain", &Value::Null).await?;
    assert_eq!((&drained["health"], &drained["in_hand"]), (&json!("disabled"), &json!(0)), "nothing was in hand");
    let enabled: Value = operator.post("/admin/devices/sim:0/enable", &Value::Null).await?;
    assert_ne!(enabled["health"], "disabled");
    assert_eq!(
        operator.metric_of("touchline_device_health", &[("device", "sim:0"), ("health", "disabled")]).await?,
        0.0
    );
    Ok(())
}
