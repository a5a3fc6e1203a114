//! Proxies of which it cannot be read what they are asked for.

mod common;

use common::*;
use tw_detect::{Environments, Policy};
use tw_model::*;

const PROXY: &str = "10.10.1.9";

/// A build, and a conversation with the proxy in its window of which nothing is read.
fn opaque(proxies: &[&str]) -> Vec<Observation> {
    let mut build = build("x", CI, 0.0, 10.0, &[]);
    build.proxies = proxies.iter().map(|proxy| (*proxy).to_owned()).collect();
    vec![built(build), connect(1, PROXY, 3128, 3.0)]
}

fn asked_of_proxy(flow: u64, port: u16, when: f64) -> Observation {
    let mut exchange = get(flow, PROXY, port, "mirror.example", "/x", when);
    exchange.proxy = Some(ProxyKind::Absolute);
    fetched(exchange)
}

/// A conversation with the proxy an hour before, in clear.
fn asked_in_clear(port: u16) -> Vec<Observation> {
    vec![connect(9, PROXY, port, -3600.0), asked_of_proxy(9, port, -3600.0)]
}

fn known() -> Store {
    Store::baseline().know(&[&format!("address {PROXY}")])
}

fn build_says(observations: &[Observation], policy: Policy) -> Vec<Caveat> {
    let told = run_with(policy, Environments::default(), observations, &known());
    assert!(told.of(Rule::BuildNewDestination).is_empty(), "the proxy is known");
    told.builds[0].caveats.clone()
}

#[test]
fn a_known_proxy_that_cannot_be_read_is_said_of_the_build() {
    let seen = [asked_in_clear(3128), opaque(&[])].concat();
    assert_eq!(build_says(&seen, Policy::default()), [Caveat::Proxied]);
    let mut later_first = seen;
    later_first.reverse();
    assert_eq!(build_says(&later_first, Policy::default()), [Caveat::Proxied]);
}

#[test]
fn a_proxy_that_the_build_was_given_is_one() {
    for proxy in ["https://10.10.1.9:3128", "10.10.1.9:3128", "http://10.10.1.9/"] {
        assert_eq!(build_says(&opaque(&[proxy]), Policy::default()), [Caveat::Proxied], "{proxy}");
    }
    for other in ["https://10.10.1.9:3129", "10.10.1.8:3128"] {
        assert!(build_says(&opaque(&[other]), Policy::default()).is_empty(), "{other}");
    }
}

#[test]
fn a_proxy_of_the_configuration_is_one() {
    for proxy in ["10.10.1.9", "10.10.1.9:3128"] {
        let policy = Policy { proxies: vec![proxy.to_owned()], ..Policy::default() };
        assert_eq!(build_says(&opaque(&[]), policy), [Caveat::Proxied], "{proxy}");
    }
}

#[test]
fn another_port_of_a_proxy_is_none() {
    let seen = [asked_in_clear(8080), opaque(&[])].concat();
    assert!(build_says(&seen, Policy::default()).is_empty());
    assert!(build_says(&opaque(&[]), Policy::default()).is_empty());
}

#[test]
fn a_proxy_that_nobody_knows_is_a_new_destination_and_says_so() {
    let seen = [asked_in_clear(3128), opaque(&[])].concat();
    let told = run(&seen, &Store::baseline());
    let finding = told.one(Rule::BuildNewDestination);
    assert!(finding.caveats.contains(&Caveat::Proxied), "{:?}", finding.caveats);
    assert_eq!(told.builds[0].caveats, [Caveat::Proxied]);
}

#[test]
fn a_proxy_that_was_read_hides_nothing_of_the_build() {
    let seen = [opaque(&[]), vec![asked_of_proxy(1, 3128, 3.1)]].concat();
    assert!(build_says(&seen, Policy::default()).is_empty());
}
