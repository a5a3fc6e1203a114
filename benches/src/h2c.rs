//! Recorded BuildKit builds one after the other: most bytes are HTTP/2 in clear.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use tw_model::Timestamp;
use tw_testkit::{PcapWriter, Records, Rewrite};

use crate::mix::{BEGIN, Totals};

/// Callers of `testdata/scenarios/buildx-grpc.pcap` and `buildkit-dns.pcap`.
const CALLER: [u8; 4] = [198, 51, 100, 23];
/// Times and frames.
type Recording<'a> = Vec<(Timestamp, &'a [u8])>;

const PAUSE: Duration = Duration::from_millis(20);

/// Writes `builds` builds, each by a caller of its own, taking the recordings in turn.
///
/// # Errors
/// Whatever `output` says, and where a recording is none.
pub fn write_h2c(recordings: &[&[u8]], builds: u32, output: impl Write) -> io::Result<Totals> {
    let all: Option<Vec<Recording<'_>>> =
        recordings.iter().map(|file| Some(Records::new(file)?.collect())).collect();
    let all = all.filter(|all| all.iter().all(|records| !records.is_empty()));
    let all = all.ok_or_else(|| io::Error::other("a recording is no capture"))?;
    let mut writer = PcapWriter::new(output)?;
    let mut totals = Totals::default();
    let mut begins = BEGIN;
    for (number, records) in (1..=builds).zip(all.iter().cycle()) {
        let [_, high, middle, low] = number.to_be_bytes();
        let rewrite = Rewrite {
            addresses: BTreeMap::from([(CALLER, [100, 64 | high, middle, low])]),
            texts: Vec::new(),
            began: records[0].0,
            begins,
        };
        for packet in records.iter().filter_map(|(at, frame)| rewrite.apply(*at, frame)) {
            writer.write(packet.at, &packet.frame)?;
            totals.packets += 1;
            totals.bytes += u64::try_from(packet.frame.len()).map_err(io::Error::other)?;
            begins = packet.at;
        }
        begins = begins.plus(PAUSE);
    }
    writer.finish()?;
    Ok(totals)
}
