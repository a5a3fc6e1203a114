//! What is printed is what was done: every recording against the truth written down with it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::captures::Capture;
use crate::support::{Run, check_all};

type Pair = (String, String);

#[test]
fn scenarios_are_told_as_they_happened() {
    check_all(&Capture::all("scenarios"), complaints);
}

#[test]
fn wire_variants_are_told_as_they_happened() {
    check_all(&Capture::all("wire"), complaints);
}

fn complaints(capture: &Capture) -> Vec<String> {
    let (truth, run) = (capture.truth(), capture.replayed());
    let case = Case { capture, truth: &truth, run: &run };
    let mut found = case.pairs();
    found.extend(case.techniques());
    found.extend(case.builds());
    found.extend(case.image_creations());
    found.extend(case.registry());
    found.extend(case.told_of_destinations());
    found.extend(case.secrets());
    found.into_iter().map(|complaint| format!("{}: {complaint}", capture.name)).collect()
}

struct Case<'a> {
    capture: &'a Capture,
    truth: &'a Value,
    run: &'a Run,
}

impl Case<'_> {
    /// T1612, at medium or above: each pair of docker host and destination once, and no other.
    fn pairs(&self) -> Vec<String> {
        let findings: Vec<Value> =
            self.run.events("finding").into_iter().filter(|f| names(f, "T1612")).collect();
        let any_severity = self.capture.is_lossy() || self.truth["any_severity"] == true;
        let mut grave = BTreeSet::new();
        let mut slight = BTreeSet::new();
        let mut complaints = Vec::new();
        for finding in &findings {
            let Some(pair) = pair(finding) else { continue };
            let side = if is_grave(finding) { &mut grave } else { &mut slight };
            if !side.insert(pair.clone()) {
                complaints.push(format!("more than one finding for {pair:?}"));
            }
        }
        for wanted in self.wanted_pairs() {
            let enough = grave.contains(&wanted) || any_severity && slight.contains(&wanted);
            if !enough {
                complaints.push(format!("missed {wanted:?}, of {slight:?} below medium"));
            }
        }
        let undetermined = self.pairs_of("undetermined_pairs");
        let wanted = self.wanted_pairs();
        let is_false = |pair: &&Pair| !wanted.contains(pair) && !undetermined.contains(pair);
        for pair in grave.iter().filter(is_false) {
            complaints.push(format!("false {pair:?}"));
        }
        complaints.extend(self.forbidden(&findings));
        complaints
    }

    /// What the truth names as innocent is in no finding of medium or above, whatever else the
    /// truth says about pairs.
    fn forbidden(&self, findings: &[Value]) -> Vec<String> {
        let addresses = strings(&self.truth["must_not"]);
        let pairs = self.pairs_of("must_not_pairs");
        let is_forbidden = |finding: &&Value| {
            is_grave(finding)
                && pair(finding)
                    .is_some_and(|pair| addresses.contains(&pair.1) || pairs.contains(&pair))
        };
        findings.iter().filter(is_forbidden).map(|f| format!("innocent: {}", f["title"])).collect()
    }

    fn wanted_pairs(&self) -> BTreeSet<Pair> {
        let wanted = items(&self.truth["findings"]).iter().filter(|f| f["technique"] == "T1612");
        wanted
            .filter_map(|f| Some((string(&f["docker_host"])?, string(&f["destination"])?)))
            .collect()
    }

    fn pairs_of(&self, key: &str) -> BTreeSet<Pair> {
        let pairs = items(&self.truth[key]).iter();
        pairs.filter_map(|pair| Some((string(&pair[0])?, string(&pair[1])?))).collect()
    }

    /// Every technique of the truth is named by a finding; those of `findings` on their host.
    fn techniques(&self) -> Vec<String> {
        let findings = self.run.events("finding");
        let is_named = |technique: &str, host: Option<&Value>| {
            findings
                .iter()
                .any(|f| names(f, technique) && host.is_none_or(|host| f["docker_host"] == *host))
        };
        let chain = items(&self.truth["chain"]).iter().map(|technique| (technique, None));
        let single = items(&self.truth["findings"]).iter();
        let single = single.map(|f| (&f["technique"], f.get("docker_host")));
        let unnamed = chain
            .chain(single)
            .filter(|(technique, host)| !is_named(technique.as_str().unwrap_or_default(), *host));
        unnamed.map(|(technique, _)| format!("no finding names {technique}")).collect()
    }

    /// Every build once, by client and daemon, with its details where they are on the wire.
    fn builds(&self) -> Vec<String> {
        let mut events = self.run.events("build");
        let mut complaints = Vec::new();
        for wanted in items(&self.truth["builds"]) {
            let mut tags = tagged(&wanted["tags"]);
            tags.extend(tagged(&wanted["tags_on_wire"]));
            let is_candidate = |event: &Value| {
                event["client"] == wanted["client"] && event["daemon"] == wanted["daemon"]
            };
            let shared = |event: &Value| tags.intersection(&tagged(&event["tags"])).count();
            let candidates = (0..events.len()).filter(|i| is_candidate(&events[*i]));
            let Some(best) = candidates.max_by_key(|i| shared(&events[*i])) else {
                complaints.push(format!("no build event for {}", wanted["tags"]));
                continue;
            };
            let event = events.swap_remove(best);
            if wanted["frontend"] != "inferred" && !self.capture.is_snapped() {
                let is_lossy = self.capture.is_lossy();
                complaints.extend(build_details(wanted, &event, &tags, is_lossy));
            }
        }
        complaints
    }

    /// Every import, commit and load, with the image's name.
    fn image_creations(&self) -> Vec<String> {
        let events = self.run.events("image_creation");
        let is_told = |wanted: &Value| {
            events.iter().any(|event| {
                let same = |key: &str| event[key] == wanted[key];
                let named = !tagged(&event["tags"]).is_disjoint(&tagged(&wanted["image"]));
                let nameless = self.capture.is_snapped() || wanted["image"].is_null();
                same("kind") && same("client") && same("daemon") && (named || nameless)
            })
        };
        let untold = items(&self.truth["image_creations"]).iter().filter(|wanted| !is_told(wanted));
        untold.map(|wanted| format!("no {} of {}", wanted["kind"], wanted["image"])).collect()
    }

    /// Every pull and push, by repository and either tag or digest.
    fn registry(&self) -> Vec<String> {
        let events = self.run.events("registry");
        let mut complaints = Vec::new();
        for (action, key) in [("pull", "registry_pulls"), ("push", "registry_pushes")] {
            for wanted in items(&self.truth[key]) {
                let is_told = events.iter().any(|event| {
                    event["action"] == action
                        && event["repository"] == wanted["repository"]
                        && (event["reference"] == wanted["tag"]
                            || event["manifest_digest"] == wanted["manifest_digest"])
                });
                if !is_told {
                    complaints.push(format!("no {action} of {}", wanted["repository"]));
                }
            }
        }
        complaints
    }

    /// Which build a destination belongs to, by which name it was asked for, and which URL.
    fn told_of_destinations(&self) -> Vec<String> {
        if self.capture.is_lossy() {
            return Vec::new();
        }
        let (findings, builds) = (self.run.events("finding"), self.run.events("build"));
        let about = |ip: &str| {
            let ip = ip.to_owned();
            findings.iter().filter(move |f| names(f, "T1612") && f["destination"]["ip"] == ip)
        };
        let mut complaints = Vec::new();
        for (ip, tags) in self.truth["finding_tags"].as_object().into_iter().flatten() {
            let is_first = |finding: &Value| {
                let build = builds.iter().find(|build| build["id"] == finding["builds"][0]);
                build.is_some_and(|build| !tagged(&build["tags"]).is_disjoint(&tagged(tags)))
            };
            if !about(ip).any(is_first) {
                complaints.push(format!("{ip} belongs to {tags}"));
            }
        }
        for (ip, name) in self.truth["destination_names"].as_object().into_iter().flatten() {
            let is_named = |f: &Value| {
                items(&f["destination"]["names"]).iter().any(|known| known["name"] == *name)
            };
            if !about(ip).any(is_named) {
                complaints.push(format!("{ip} was asked for as {name}"));
            }
        }
        let urls: BTreeSet<String> = builds.iter().flat_map(|b| strings(&b["urls"])).collect();
        let unnamed = strings(&self.truth["dockerfile_urls"]).into_iter();
        complaints.extend(
            unnamed.filter(|url| !urls.contains(url)).map(|url| format!("no build names {url}")),
        );
        complaints
    }

    fn secrets(&self) -> Vec<String> {
        let printed = self.run.text() + &self.run.stderr;
        let secrets = strings(&self.truth["must_not_print"]).into_iter();
        secrets.filter(|s| printed.contains(s)).map(|_| "a secret was printed".to_owned()).collect()
    }
}

/// The image's id is in the answer, which may be what was lost.
fn build_details(
    wanted: &Value,
    event: &Value,
    tags: &BTreeSet<String>,
    is_lossy: bool,
) -> Vec<String> {
    let mut complaints = Vec::new();
    let frontend = &event["frontend"];
    let is_libpod = wanted["frontend"] == "classic" && frontend == "libpod";
    if !wanted["frontend"].is_null() && *frontend != wanted["frontend"] && !is_libpod {
        complaints.push(format!("frontend {frontend}, not {}", wanted["frontend"]));
    }
    if !tags.is_empty() && tags.is_disjoint(&tagged(&event["tags"])) {
        complaints.push(format!("tags {}, not {tags:?}", event["tags"]));
    }
    if !images(&wanted["base_images"]).is_subset(&images(&event["base_images"])) {
        let (bases, right) = (&event["base_images"], &wanted["base_images"]);
        complaints.push(format!("base images {bases}, not {right}"));
    }
    for key in ["image_id", "remote"] {
        let may_lack = is_lossy && event[key].is_null();
        if !wanted[key].is_null() && !may_lack && !same_prefix(&event[key], &wanted[key]) {
            complaints.push(format!("{key} {}, not {}", event[key], wanted[key]));
        }
    }
    complaints
}

/// Where only `q=1` or a log line told it, an image id has 12 digits behind `sha256:`.
fn same_prefix(printed: &Value, wanted: &Value) -> bool {
    let (Some(printed), Some(wanted)) = (printed.as_str(), wanted.as_str()) else { return false };
    printed == wanted || wanted.starts_with("sha256:") && printed.get(..19) == wanted.get(..19)
}

fn is_grave(finding: &Value) -> bool {
    matches!(finding["severity"].as_str(), Some("medium" | "high" | "critical"))
}

/// A sub-technique's parent names it too.
fn names(finding: &Value, technique: &str) -> bool {
    let parent = technique.split('.').next().unwrap_or_default();
    items(&finding["techniques"]).iter().any(|t| *t == technique || *t == parent)
}

fn pair(finding: &Value) -> Option<Pair> {
    Some((string(&finding["docker_host"])?, string(&finding["destination"]["ip"])?))
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn string(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// A string or a list of strings.
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(one) => vec![one.clone()],
        _ => items(value).iter().filter_map(string).collect(),
    }
}

/// `docker.io/library/alpine:3.18` and `alpine:3.18` are one image.
fn short(image: &str) -> &str {
    let image = image.strip_prefix("docker.io/").unwrap_or(image);
    image.strip_prefix("library/").unwrap_or(image)
}

fn images(value: &Value) -> BTreeSet<String> {
    strings(value).iter().map(|image| short(image).to_owned()).collect()
}

/// As [`images`]; without a tag, `latest` is meant.
fn tagged(value: &Value) -> BTreeSet<String> {
    let with_tag = |image: String| {
        let name = image.rsplit('/').next().unwrap_or_default();
        if name.contains([':', '@']) { image } else { image + ":latest" }
    };
    images(value).into_iter().map(with_tag).collect()
}
