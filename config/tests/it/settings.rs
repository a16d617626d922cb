//! The layers of the settings, and what is refused.

use std::{fs, path::Path};

use config::{ConfigError, DeviceList, DeviceName, LogLevel, Settings, SimFault};

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn with_env(pairs: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    Settings::load_from(None, env(pairs))
}

fn with_file(text: &str, pairs: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("touchline.toml");
    fs::write(&path, text).unwrap();
    Settings::load_from(Some(&path), env(pairs))
}

fn message(result: Result<Settings, ConfigError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn the_defaults_are_valid() {
    let settings = with_env(&[("HOME", "/root"), ("TOUCHLINE_ADMIN_EMAIL", "a@b")]).unwrap();
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.data_dir, Path::new("data"));
    assert_eq!(settings.database.url, "sqlite://data/touchline.db");
    assert_eq!(settings.storage.folder().unwrap(), Path::new("data/media"));
    assert_eq!(settings.devices.list, DeviceList::Auto);
    assert_eq!((settings.devices.cpu_threads, settings.devices.fixed_batch()), (1, None));
    assert_eq!((settings.auth.secret.expose(), settings.auth.access_minutes), (None, 15));
    assert_eq!((settings.auth.refresh_days, settings.segments.seconds), (30, 4.0));
    assert_eq!(settings.limits.requests_per_second, 0);
    assert_eq!(settings.upscale.model, "realesr-animevideov3-x4");
    assert_eq!(settings.detect.model, "nanodet-g");
    assert_eq!(settings.log.level, LogLevel::Info);
}

#[test]
fn every_key_of_the_defaults_is_explained() {
    let lines: Vec<_> = include_str!("../../default.toml").lines().collect();
    for (n, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(" = ") && !line.starts_with('#')) {
        assert!(n > 0 && lines[n - 1].starts_with("# "), "`{line}` has no comment above it");
    }
}

#[test]
fn the_file_goes_over_the_defaults_and_the_environment_over_the_file() {
    let file = "data_dir = \"/srv\"\n[segments]\nseconds = 2\n[devices]\nlist = [\"sim:0\"]\nsim_frame_ms = 40";
    let settings = with_file(file, &[("TOUCHLINE__SEGMENTS__SECONDS", "8")]).unwrap();
    assert_eq!(settings.segments.seconds, 8.0);
    assert_eq!(settings.devices.list, DeviceList::Named(vec![DeviceName::Sim(0)]));
    assert_eq!((settings.devices.sim_frame_ms, settings.devices.cpu_threads), (40.0, 1));
    assert_eq!(settings.database.url, "sqlite:///srv/touchline.db");
}

#[test]
fn environment_values_are_toml_or_plain_strings() {
    let settings = with_env(&[
        ("TOUCHLINE__DEVICES__LIST", r#"["cpu:0", "cuda:1"]"#),
        ("TOUCHLINE__DEVICES__BATCH", "4"),
        ("TOUCHLINE__DATA_DIR", "/var/lib/100% mine?"),
        ("TOUCHLINE__SERVER__LISTEN", "0.0.0.0:0"),
        ("TOUCHLINE__UPSCALE__MODEL", "\"quoted\""),
        ("TOUCHLINE__DETECT__MODEL", "12"),
        ("TOUCHLINE__CORS__ALLOWED_ORIGINS", r#"["https://club.example"]"#),
    ])
    .unwrap();
    assert_eq!(settings.devices.list.to_string(), "cpu:0,cuda:1");
    assert_eq!(settings.devices.fixed_batch(), Some(4));
    assert_eq!(settings.data_dir, Path::new("/var/lib/100% mine?"));
    assert_eq!(settings.database.url, "sqlite:///var/lib/100%25 mine%3F/touchline.db");
    assert_eq!(settings.storage.folder().unwrap(), Path::new("/var/lib/100% mine?/media"));
    assert_eq!(settings.upscale.model, "quoted");
    assert_eq!(settings.detect.model, "12", "a string stays what was typed");
    assert_eq!(with_env(&[("TOUCHLINE__DEVICES__LIST", "auto")]).unwrap().devices.list, DeviceList::Auto);
    assert_eq!(
        with_env(&[("TOUCHLINE__DEVICES__LIST", "sim:0,sim:1")]).unwrap().devices.list.to_string(),
        "sim:0,sim:1"
    );
}

#[test]
fn an_unknown_key_is_named_with_its_layer() {
    let variable = message(with_env(&[("TOUCHLINE__LIMITS__UPLOADS", "3")]));
    assert!(variable.contains("`limits.uploads`") && variable.contains("TOUCHLINE__LIMITS__UPLOADS"), "{variable}");
    let top = message(with_env(&[("TOUCHLINE__DATADIR", "/x")]));
    assert!(top.contains("`datadir`"), "{top}");
    let deep = message(with_env(&[("TOUCHLINE__DATA_DIR__X", "/x")]));
    assert!(deep.contains("data_dir"), "{deep}");
    let file = message(with_file("[server]\nport = 80", &[]));
    assert!(file.contains("`server.port`") && file.contains("touchline.toml"), "{file}");
}

#[test]
fn a_wrong_type_is_named_with_its_layer() {
    let variable = message(with_env(&[("TOUCHLINE__DEVICES__BATCH", "many")]));
    assert!(variable.contains("`devices.batch`") && variable.contains("TOUCHLINE__DEVICES__BATCH"), "{variable}");
    let file = message(with_file("[limits]\nupload_bytes = -1", &[]));
    assert!(file.contains("`limits.upload_bytes`") && file.contains("touchline.toml"), "{file}");
    let section = message(with_file("limits = 3", &[]));
    assert!(section.contains("`limits` is a section"), "{section}");
    let device = message(with_env(&[("TOUCHLINE__DEVICES__LIST", r#"["gpu:0"]"#)]));
    assert!(device.contains("gpu:0") && device.contains("cuda:N"), "{device}");
    let twice = message(with_env(&[("TOUCHLINE__DEVICES__LIST", r#"["cpu:0", "cpu:0"]"#)]));
    assert!(twice.contains("named twice"), "{twice}");
    let level = message(with_env(&[("TOUCHLINE__LOG__LEVEL", "loud")]));
    assert!(level.contains("`log.level`"), "{level}");
}

#[test]
fn a_later_layer_does_not_hide_a_mistake() {
    let fixed = [("TOUCHLINE__DEVICES__BATCH", "4"), ("TOUCHLINE__LIMITS__UPLOAD_BYTES", "5")];
    let value = message(with_file("[devices]\nbatch = 'many'", &fixed));
    assert!(value.contains("`devices.batch`") && value.contains("touchline.toml"), "{value}");
    let section = message(with_file("limits = 3", &fixed));
    assert!(section.contains("`limits` is a section") && section.contains("touchline.toml"), "{section}");
}

#[test]
fn a_key_inside_a_list_is_named() {
    let key = message(with_env(&[("TOUCHLINE__DEVICES__SIM", r#"[{device = "sim:0", sped = 2}]"#)]));
    assert!(key.contains("`devices.sim.0.sped`") && key.contains("TOUCHLINE__DEVICES__SIM"), "{key}");
}

#[test]
fn a_missing_or_broken_file_is_named() {
    let missing = Settings::load_from(Some(Path::new("/nowhere/t.toml")), env(&[])).unwrap_err();
    assert!(missing.to_string().contains("/nowhere/t.toml"));
    let broken = message(with_file("[server", &[]));
    assert!(broken.contains("not valid TOML"), "{broken}");
}

#[test]
fn all_invalid_values_are_listed_at_once() {
    let result = with_env(&[
        ("TOUCHLINE__DATABASE__URL", "mysql://x"),
        ("TOUCHLINE__REDIS__URL", "http://localhost"),
        ("TOUCHLINE__STORAGE__URL", "s3://bucket"),
        ("TOUCHLINE__DEVICES__CPU_THREADS", "0"),
        ("TOUCHLINE__DEVICES__BATCH", "1000"),
        ("TOUCHLINE__DEVICES__SIM_FRAME_MS", "-1.0"),
        ("TOUCHLINE__DEVICES__STALL_SECONDS", "nan"),
        ("TOUCHLINE__DEVICES__SIM", r#"[{device = "sim:0", speed = 0}]"#),
        ("TOUCHLINE__MODELS__DIR", "\"\""),
        ("TOUCHLINE__AUTH__SECRET", "short"),
        ("TOUCHLINE__AUTH__PREVIOUS_SECRET", "short"),
        ("TOUCHLINE__AUTH__ACCESS_MINUTES", "0"),
        ("TOUCHLINE__AUTH__REFRESH_DAYS", "0"),
        ("TOUCHLINE__CORS__ALLOWED_ORIGINS", r#"["https://club.example/page"]"#),
        ("TOUCHLINE__SEGMENTS__SECONDS", "0.05"),
        ("TOUCHLINE__LIMITS__QUEUED_EXPORTS", "0"),
        ("TOUCHLINE__SERVER__PUBLIC_URL", "javascript://club.example"),
        ("TOUCHLINE__PLANNER__PRICE_PER_DEVICE_SECOND", "-1"),
        ("TOUCHLINE__WEBHOOKS__TIMEOUT_SECONDS", "0"),
        ("TOUCHLINE__WEBHOOKS__RETRY_SECONDS", "[-1.0]"),
    ]);
    let Err(ConfigError::Invalid(found)) = result else { panic!("{result:?}") };
    let mut pointers: Vec<_> = found.iter().map(|invalid| invalid.pointer.as_str()).collect();
    pointers.sort_unstable();
    let expected = [
        "/auth/access_minutes",
        "/auth/previous_secret",
        "/auth/refresh_days",
        "/auth/secret",
        "/cors/allowed_origins",
        "/database/url",
        "/devices/batch",
        "/devices/cpu_threads",
        "/devices/sim/0/device",
        "/devices/sim/0/speed",
        "/devices/sim_frame_ms",
        "/devices/stall_seconds",
        "/limits/queued_exports",
        "/models/dir",
        "/planner/price_per_device_second",
        "/redis/url",
        "/segments/seconds",
        "/server/public_url",
        "/storage/url",
        "/webhooks/retry_seconds",
        "/webhooks/timeout_seconds",
    ];
    assert_eq!(pointers, expected);
}

#[test]
fn proxies_are_addresses_or_networks() {
    let with = |proxies| with_env(&[("TOUCHLINE__SERVER__TRUSTED_PROXIES", proxies)]);
    let settings = with(r#"["127.0.0.1", "10.0.0.0/8", "fd00::/8"]"#).unwrap();
    let trusts = |address: &str| {
        settings.server.trusted_proxies.iter().any(|network| network.contains(address.parse().unwrap()))
    };
    assert!(trusts("127.0.0.1") && trusts("10.9.8.7") && trusts("fd12::1") && !trusts("192.0.2.1"));
    let refused = message(with(r#"["proxy.example"]"#));
    assert!(refused.contains("trusted_proxies") && refused.contains("proxy.example"), "{refused}");
}

#[test]
fn redis_over_tls_is_refused_with_what_to_use_instead() {
    let error = message(with_env(&[("TOUCHLINE__REDIS__URL", "rediss://cache.example:6380")]));
    assert!(error.contains("redis.url") && error.contains("stunnel") && error.contains("unix://"), "{error}");
}

#[test]
fn faults_of_a_simulated_device_are_configured() {
    let list = ("TOUCHLINE__DEVICES__LIST", r#"["sim:0", "sim:1"]"#);
    let one = r#"[{device = "sim:1", speed = 0.5, fault = "hang", after = 20, times = 3}]"#;
    let settings = with_env(&[list, ("TOUCHLINE__DEVICES__SIM", one)]).unwrap();
    assert_eq!(settings.devices.sim_of(DeviceName::Sim(0)), None);
    let sim = settings.devices.sim_of(DeviceName::Sim(1)).unwrap();
    assert_eq!((sim.speed, sim.fault, sim.after, sim.times), (0.5, Some(SimFault::Hang), 20, Some(3)));

    let unknown = with_env(&[list, ("TOUCHLINE__DEVICES__SIM", r#"[{device = "sim:1", fault = "explode"}]"#)]);
    assert!(message(unknown).contains("explode"));
    let twice = with_env(&[list, ("TOUCHLINE__DEVICES__SIM", r#"[{device = "sim:1"}, {device = "sim:1"}]"#)]);
    assert!(message(twice).contains("has an entry already"));
    let elsewhere = with_env(&[list, ("TOUCHLINE__DEVICES__SIM", r#"[{device = "cpu:0"}]"#)]);
    assert!(message(elsewhere).contains("must be a sim:N of devices.list"));
}

#[test]
fn postgresql_needs_a_secret() {
    let url = ("TOUCHLINE__DATABASE__URL", "postgres://me:pw@host/touchline");
    assert!(message(with_env(&[url])).contains("auth.secret"));
    let secret = ("TOUCHLINE__AUTH__SECRET", "01234567890123456789012345678901");
    let settings = with_env(&[url, secret]).unwrap();
    assert!(settings.database.is_postgres());
    assert_eq!(settings.auth.secret.expose(), Some(secret.1), "digits stay a string");
}

#[test]
fn secrets_are_not_shown() {
    let secret = "a secret of at least thirty-two bytes";
    let settings = with_env(&[
        ("TOUCHLINE__AUTH__SECRET", secret),
        ("TOUCHLINE__AUTH__PREVIOUS_SECRET", secret),
        ("TOUCHLINE__DATABASE__URL", "postgres://me:pass-word@host/touchline"),
    ])
    .unwrap();
    let shown = serde_json::to_string(&settings).unwrap();
    assert!(!shown.contains(secret) && !shown.contains("pass-word"), "{shown}");
    assert!(shown.contains("postgres://me:***@host/touchline"), "{shown}");
    assert!(!format!("{:?}", settings.auth).contains(secret));
}

#[test]
fn issuers_say_whom_they_let_in() {
    let entry = |more: &str| {
        let text = format!(
            "[[auth.issuers]]\nissuer = 'https://login.example/'\njwks_url = 'https://login.example/jwks'\n\
             audience = 'touchline'\nalgorithms = ['RS256', 'EdDSA']\nrole_claim = 'groups'\n{more}\n"
        );
        with_file(&text, &[])
    };
    let settings = entry("tenant = 'club'\nroles = { coach = 'editor' }").unwrap();
    assert_eq!(settings.auth.issuers[0].roles["coach"], config::IssuerRole::Editor);
    entry("tenant_claim = 'club'\ntenants = { a = 'A' }\nroles = { coach = 'editor' }").unwrap();
    entry("tenant = 'club'\nroles = { boss = 'operator' }\nallow_operator = true").unwrap();
    for (wrong, expected) in [
        ("roles = { coach = 'editor' }", "auth.issuers.0.tenant"),
        (
            "tenant = 'a'\ntenant_claim = 'b'\ntenants = { a = 'A' }\nroles = { coach = 'editor' }",
            "auth.issuers.0.tenant",
        ),
        ("tenant_claim = 'b'\nroles = { coach = 'editor' }", "auth.issuers.0.tenants"),
        ("tenant = 'a'\nroles = { boss = 'operator' }", "allow_operator"),
        ("tenant = 'a'\nroles = {}", "auth.issuers.0.roles"),
        ("tenant = 'a'\nroles = { coach = 'editor' }\nalgorithm = 'HS256'", "algorithm"),
    ] {
        let error = message(entry(wrong));
        assert!(error.contains(expected), "{wrong}: {error}");
    }
    for algorithm in ["none", "HS256", "RS512"] {
        let text = format!(
            "[[auth.issuers]]\nissuer = 'i'\njwks_url = 'https://i/'\naudience = 'a'\nalgorithms = ['{algorithm}']\n\
             tenant = 't'\nrole_claim = 'r'\nroles = {{ a = 'viewer' }}\n"
        );
        assert!(message(with_file(&text, &[])).contains("auth.issuers"), "{algorithm}");
    }
}

#[test]
fn tls_needs_a_certificate_and_its_key() {
    assert_eq!(with_env(&[]).unwrap().tls.files(), None);
    let both = with_env(&[("TOUCHLINE__TLS__CERTIFICATE", "c.pem"), ("TOUCHLINE__TLS__KEY", "k.pem")]).unwrap();
    assert_eq!(both.tls.files(), Some(("c.pem".as_ref(), "k.pem".as_ref())));
    assert!(message(with_env(&[("TOUCHLINE__TLS__KEY", "k.pem")])).contains("tls: needs both"));
}
