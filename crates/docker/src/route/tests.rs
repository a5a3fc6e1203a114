use tw_model::Route;

use super::Target;

fn route(method: &str, target: &str) -> Option<Route> {
    Target::read(target)?.route(method)
}

#[test]
fn every_spelling_of_build() {
    let spellings = [
        "/build",
        "/build?t=x",
        "/v1.41/build",
        "/v1.24/build?remote=http://h/p",
        "/v1/build",
        "/v1.41/%62uild",
        "/v1.41%2Fbuild",
        "/build/",
        "http://10.0.0.1:2375/v1.41/build",
        "HTTP://user:pw@10.0.0.1/build",
        "/v4.0.0/libpod/build",
        "/v4.0.0-dev/libpod/build",
        "/libpod/build",
        "//v1.41//build",
        "/x/../build",
        "/./build",
    ];
    for spelling in spellings {
        assert_eq!(route("POST", spelling), Some(Route::Build), "{spelling}");
        assert_eq!(route("post", spelling), None, "{spelling}");
        assert_eq!(route("GET", spelling), None, "{spelling}");
    }
}

#[test]
fn what_is_no_build() {
    for target in
        ["/builder", "/api/build", "/job/x/build", "build", "/build/x", "/%zzbuild", "/vx/build"]
    {
        assert_eq!(route("POST", target), None, "{target}");
    }
}

#[test]
fn unclean_paths_are_told() {
    for (target, unclean) in [
        ("/build", false),
        ("/build/", false),
        ("/", false),
        ("/v1.41%2Fbuild", false),
        ("//build", true),
        ("/v1.41//build", true),
        ("/a/../build", true),
        ("/./build", true),
        ("/%2e%2e/build", true),
        ("/build//", true),
    ] {
        assert_eq!(Target::read(target).map(|t| t.unclean), Some(unclean), "{target}");
    }
}

#[test]
fn version_and_libpod_are_told_apart() {
    let target = Target::read("/v4.0.0/libpod/containers/create?name=x").expect("target");
    assert_eq!(target.version.as_deref(), Some("4.0.0"));
    assert!(target.libpod);
    assert_eq!(target.path, "/containers/create");
    let target = Target::read("/v1.41/_ping").expect("target");
    assert_eq!((target.version.as_deref(), target.libpod), (Some("1.41"), false));
    assert_eq!(Target::read("/version").and_then(|t| t.version), None);
    assert_eq!(Target::read("/volumes").and_then(|t| t.version), None);
}

#[test]
fn the_route_table() {
    let table = [
        ("HEAD", "/_ping", Route::Ping),
        ("GET", "/_ping", Route::Ping),
        ("GET", "/version", Route::Version),
        ("GET", "/v1.41/info", Route::Info),
        ("GET", "/events?since=0", Route::Events),
        ("POST", "/auth", Route::Auth),
        ("POST", "/session", Route::Session),
        ("POST", "/grpc", Route::Grpc),
        ("POST", "/commit?container=x", Route::Commit),
        ("GET", "/containers/json?all=1", Route::ContainerList),
        ("POST", "/containers/create?name=x", Route::ContainerCreate),
        ("POST", "/containers/abc/start", Route::ContainerStart),
        ("POST", "/containers/abc/stop", Route::ContainerStop),
        ("POST", "/containers/abc/kill", Route::ContainerStop),
        ("POST", "/containers/abc/wait", Route::ContainerWait),
        ("POST", "/containers/abc/attach", Route::ContainerAttach),
        ("GET", "/containers/abc/attach/ws", Route::ContainerAttach),
        ("GET", "/containers/abc/logs", Route::ContainerLogs),
        ("GET", "/containers/abc/json", Route::ContainerInspect),
        ("PUT", "/containers/abc/archive?path=/", Route::ArchivePut),
        ("HEAD", "/containers/abc/archive?path=/", Route::ArchiveGet),
        ("POST", "/containers/abc/exec", Route::ExecCreate),
        ("DELETE", "/containers/abc?force=1", Route::ContainerRemove),
        ("POST", "/exec/abc/start", Route::ExecStart),
        ("GET", "/exec/abc/json", Route::ExecInspect),
        ("GET", "/images/json", Route::ImageList),
        ("GET", "/images/a/b:1/json", Route::ImageInspect),
        ("POST", "/images/load", Route::ImageLoad),
        ("POST", "/images/create?fromSrc=http://h/p", Route::ImageImport),
        ("POST", "/images/create?fromImage=alpine", Route::ImagePull),
        ("POST", "/images/registry:5000/a/b/push?tag=1", Route::ImagePush),
        ("POST", "/images/a/b/tag?repo=c", Route::ImageTag),
        ("DELETE", "/images/a/b", Route::ImageRemove),
        ("POST", "/v4.0.0/libpod/images/import?url=http://h/p", Route::ImageImport),
        ("POST", "/v4.0.0/libpod/images/pull?reference=a", Route::ImagePull),
        ("GET", "/networks", Route::Network),
        ("POST", "/volumes/create", Route::Volume),
        ("POST", "/swarm/join", Route::Swarm),
        ("GET", "/services", Route::Service),
        ("GET", "/plugins", Route::Plugin),
        ("GET", "/secrets", Route::Secret),
        ("GET", "/system/df", Route::Other),
        ("POST", "/build/prune", Route::Other),
    ];
    for (method, target, expected) in table {
        assert_eq!(route(method, target), Some(expected), "{method} {target}");
    }
}

#[test]
fn object_names() {
    for (target, object, verb) in [
        ("/v1.41/containers/abc/start", "abc", "start"),
        ("/containers/abc", "abc", "abc"),
        ("/exec/e1/start", "e1", "start"),
        ("/images/a/b/push", "a/b", "push"),
        ("/containers/%61bc/archive", "abc", "archive"),
    ] {
        let target = Target::read(target).expect("target");
        assert_eq!((target.object(), target.verb()), (object, verb));
    }
}

#[test]
fn a_reverse_proxy_s_prefix_is_looked_past() {
    let read = |path: &str| {
        let target = Target::read(path).unwrap();
        (target.path.clone(), target.version.clone(), target.route("POST"))
    };
    let build = |version: Option<&str>| {
        ("/build".to_owned(), version.map(str::to_owned), Some(Route::Build))
    };
    for path in
        ["/docker/v1.41/build?t=x", "/a/b/v1.41/build", "/api/endpoints/1/docker/v1.41/build"]
    {
        assert_eq!(read(path), build(Some("1.41")), "{path}");
    }
    for path in ["/docker/build", "/api/endpoints/1/docker/build?t=x"] {
        assert_eq!(read(path), build(None), "{path}");
    }
    for path in ["/app/build", "/v2/docker/build", "/containers/v1.41x/build", "/dockers/build"] {
        assert_ne!(read(path).2, Some(Route::Build), "{path}");
    }
    assert_eq!(read("/images/docker/push").2, Some(Route::ImagePush));
    assert_eq!(read("/containers/docker/start").2, Some(Route::ContainerStart));
    assert_eq!(read("/v1.41/images/docker/dind/push").2, Some(Route::ImagePush));
}
