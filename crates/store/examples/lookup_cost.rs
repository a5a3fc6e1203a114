//! What a question costs: `cargo run --release -p tw-store --example lookup_cost -- [ENTRIES]`.
//!
//! Fills a store in a temporary directory and prints nanoseconds per question: for what was never
//! seen (answered by the filter), for what was (settled by the database, then by the cache), and
//! per fact recorded and committed.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use tw_detect::{Fact, Key, Knowledge, Seen};
use tw_model::Timestamp;
use tw_store::{How, Memory, Options, Store};

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let entries: u32 = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    let mut store = Store::open(folder.path(), Options::default())?;
    let day = |day: u64| Timestamp::EPOCH.plus(Duration::from_secs(day * 86_400));
    store.watching("default", day(1));

    let start = now();
    for number in 0..entries {
        let fact = Fact {
            environment: "default",
            host: HOST,
            key: key(number),
            at: day(3),
            via: tw_model::Via::Packets,
        };
        store.record(&fact, How::Observed);
    }
    store.commit(&[])?;
    report("record and commit", start, entries)?;
    let start = now();
    store.rebuild()?;
    report("rebuild filters", start, entries)?;

    let asked = entries.min(40_000);
    let step = entries / asked.max(1);
    let mut ask = |name: &str, first: u32, step: u32, expect_never: bool| {
        let start = now();
        let never = (0..asked).filter(|number| {
            let key = key(first.wrapping_add(number.wrapping_mul(step)));
            store.ask("default", HOST, key, day(4)).environment == Knowledge::Never
        });
        let never = never.count();
        report(name, start, asked)?;
        assert_eq!(never, if expect_never { usize::try_from(asked).unwrap_or(0) } else { 0 });
        io::Result::Ok(())
    };
    ask("ask, never seen (filter)", entries, 1, true)?;
    ask("ask, seen (database)", 0, step, false)?;
    ask("ask, seen again (cache)", 0, step, false)?;
    writeln!(io::stdout(), "{:#?}", store.filter_stats())?;
    Ok(())
}

/// Scattered over the address space; an odd factor makes it one to one.
fn key(number: u32) -> Key<'static> {
    Key::Address(Ipv4Addr::from(number.wrapping_mul(2_654_435_761)).into())
}

#[expect(clippy::disallowed_methods, reason = "measures this machine, not the traffic")]
fn now() -> Instant {
    Instant::now()
}

fn report(name: &str, start: Instant, count: u32) -> io::Result<()> {
    let each = start.elapsed() / count.max(1);
    writeln!(io::stdout(), "{name:28} {:>9} ns each of {count}", each.as_nanos())
}
