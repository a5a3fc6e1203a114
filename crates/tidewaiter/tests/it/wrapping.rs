//! How the wire was tapped does not change what happened on it; what the wire lost is said.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::captures::Capture;
use crate::support::{Run, check_all};

/// What a finding claims, without where in the capture it stands.
fn claims(run: &Run) -> Vec<String> {
    let builds = run.events("build");
    let tags: BTreeMap<&str, &Value> =
        builds.iter().filter_map(|build| Some((build["id"].as_str()?, &build["tags"]))).collect();
    let mut claims: Vec<String> = run
        .events("finding")
        .iter()
        .map(|finding| {
            let ids = finding["builds"].as_array().cloned().unwrap_or_default();
            let built: Vec<_> = ids.iter().map(|id| tags.get(id.as_str()?).copied()).collect();
            let destination = &finding["destination"]["ip"];
            format!(
                "{} {} -> {destination} {} {} {built:?}",
                finding["rule"], finding["docker_host"], finding["severity"], finding["verdict"]
            )
        })
        .collect();
    claims.sort();
    claims
}

#[test]
fn lossless_wrappings_give_the_findings_of_the_original() {
    let wrapped: Vec<Capture> =
        Capture::all("wire").into_iter().filter(|capture| !capture.is_lossy()).collect();
    check_all(&wrapped, |capture| {
        let original = Capture::new(&format!("scenarios/{}", capture.scenario()));
        let (before, after) = (claims(&original.replayed()), claims(&capture.replayed()));
        let mut complaints = Vec::new();
        if before.is_empty() {
            complaints.push(format!("{}: no findings to compare", original.name));
        }
        let only = |here: &[String], there: &[String]| -> Vec<String> {
            here.iter().filter(|claim| !there.contains(claim)).cloned().collect()
        };
        if before != after {
            complaints.push(format!(
                "{}:\n  only in the original: {:?}\n  only here: {:?}",
                capture.name,
                only(&before, &after),
                only(&after, &before)
            ));
        }
        complaints
    });
}

/// Caveats of the findings about builds and of the builds themselves.
fn caveats(run: &Run) -> Vec<String> {
    let events = run.events("finding").into_iter().chain(run.events("build"));
    let of_event = |event: Value| event["caveats"].as_array().cloned().unwrap_or_default();
    events.flat_map(of_event).filter_map(|c| c.as_str().map(str::to_owned)).collect()
}

#[test]
fn lossy_wrappings_say_what_was_lost() {
    let owed = [
        ("loss", &["gaps"][..]),
        ("midstream", &["midstream"]),
        ("toserver", &["one-direction"]),
        ("toclient", &["one-direction"]),
        ("snap128", &["truncated", "gaps"]),
    ];
    let lossy: Vec<Capture> = Capture::all("wire").into_iter().filter(Capture::is_lossy).collect();
    check_all(&lossy, |capture| {
        let (_, any_of) = owed
            .iter()
            .find(|(variant, _)| *variant == capture.variant())
            .unwrap_or_else(|| panic!("{}: which caveat belongs to it?", capture.name));
        let said = caveats(&capture.replayed());
        let is_said = said.iter().any(|caveat| any_of.contains(&caveat.as_str()));
        let has_builds = capture.truth()["builds"].as_array().is_some_and(|b| !b.is_empty());
        if is_said || !has_builds {
            return Vec::new();
        }
        vec![format!("{}: none of {any_of:?} in {said:?}", capture.name)]
    });
}

#[test]
fn whole_captures_are_not_called_lossy() {
    let whole = ["scenarios/classic-http", "scenarios/full-chain", "wire/classic-http.dup"];
    check_all(&whole, |name| {
        let said = caveats(&Capture::new(name).replayed());
        let wrong = ["gaps", "drops", "midstream", "one-direction", "truncated"];
        let untrue: Vec<_> = said.iter().filter(|c| wrong.contains(&c.as_str())).collect();
        if untrue.is_empty() { vec![] } else { vec![format!("{name}: {untrue:?}")] }
    });
}
