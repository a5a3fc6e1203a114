//! The classic pcap file format (draft-ietf-opsawg-pcap), little-endian.

use std::io::{self, Write};

use tw_model::Timestamp;

use crate::Packet;

const MAGIC_NANOS: u32 = 0xa1b2_3c4d;
const LINKTYPE_ETHERNET: u32 = 1;
const SNAP_LEN: u32 = 262_144;

/// Writes a pcap file with times in nanoseconds.
#[derive(Debug)]
pub struct PcapWriter<W: Write> {
    output: W,
}

impl<W: Write> PcapWriter<W> {
    /// Writes the file header.
    ///
    /// # Errors
    /// Whatever `output` says.
    pub fn new(mut output: W) -> io::Result<Self> {
        output.write_all(&MAGIC_NANOS.to_le_bytes())?;
        output.write_all(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
        output.write_all(&SNAP_LEN.to_le_bytes())?;
        output.write_all(&LINKTYPE_ETHERNET.to_le_bytes())?;
        Ok(Self { output })
    }

    /// Writes one record.
    ///
    /// # Errors
    /// Whatever the output says.
    pub fn write(&mut self, at: Timestamp, frame: &[u8]) -> io::Result<()> {
        let (secs, nanos) = (at.as_nanos() / 1_000_000_000, at.as_nanos() % 1_000_000_000);
        let len = u32::try_from(frame.len()).map_err(io::Error::other)?;
        for field in [
            u32::try_from(secs).map_err(io::Error::other)?,
            u32::try_from(nanos).map_err(io::Error::other)?,
            len,
            len,
        ] {
            self.output.write_all(&field.to_le_bytes())?;
        }
        self.output.write_all(frame)
    }

    /// Hands the output back, flushed.
    ///
    /// # Errors
    /// Whatever the output says.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.flush()?;
        Ok(self.output)
    }
}

/// A pcap file of `packets`, sorted by time.
///
/// # Panics
/// Where a time lies before 1970 or after 2106.
#[must_use]
pub fn to_pcap(packets: &[Packet]) -> Vec<u8> {
    let mut sorted: Vec<&Packet> = packets.iter().collect();
    sorted.sort_by_key(|packet| packet.at);
    let mut writer = PcapWriter::new(Vec::new()).expect("memory takes all");
    for packet in sorted {
        writer.write(packet.at, &packet.frame).expect("a time that pcap can say");
    }
    writer.finish().expect("memory takes all")
}

/// The records of a little-endian pcap file with times in micro- or nanoseconds, as recorded in
/// `testdata/`. Ends at the first thing that is no whole record.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    nanos_per_tick: i64,
}

impl<'a> Records<'a> {
    /// `None` where `file` does not begin like such a file.
    #[must_use]
    pub fn new(file: &'a [u8]) -> Option<Self> {
        let nanos_per_tick = match little_endian(file, 0)? {
            MAGIC_NANOS => 1,
            0xa1b2_c3d4 => 1000,
            _ => return None,
        };
        Some(Self { rest: file.get(24..)?, nanos_per_tick })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (Timestamp, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let secs = i64::from(little_endian(self.rest, 0)?);
        let ticks = i64::from(little_endian(self.rest, 4)?);
        let len = usize::try_from(little_endian(self.rest, 8)?).ok()?;
        let frame = self.rest.get(16..)?.get(..len)?;
        self.rest = self.rest.get(16 + len..)?;
        Some((Timestamp::from_secs_nanos(secs, ticks * self.nanos_per_tick), frame))
    }
}

fn little_endian(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_in_time_order() {
        let at = |nanos| Timestamp::from_secs_nanos(1_700_000_000, nanos);
        let packets =
            [Packet { at: at(7), frame: vec![2; 60] }, Packet { at: at(3), frame: vec![1; 61] }];
        let file = to_pcap(&packets);
        let read: Vec<_> = Records::new(&file).unwrap().collect();
        assert_eq!(read, vec![(at(3), &[1; 61][..]), (at(7), &[2; 60][..])]);
        assert_eq!(Records::new(&file[..file.len() - 1]).unwrap().count(), 1);
    }
}
