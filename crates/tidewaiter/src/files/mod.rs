//! Files for the case that `replay` writes besides what it prints.

pub(crate) mod packets;

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::args::Replay;
use crate::report::Sources;
use crate::report::case::Case;
use packets::Packets;

/// What was asked for, with a place for each of it that takes files.
pub(crate) struct Files {
    packets: Option<Packets>,
    captures: Vec<PathBuf>,
}

/// What was written, for the `stats` line.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) packets: Option<packets::Summary>,
}

impl Written {
    /// For a person, a line each.
    pub(crate) fn text(&self) -> String {
        self.packets.as_ref().map_or_else(String::new, packets::Summary::text)
    }

    /// Was nothing asked for?
    pub(crate) const fn is_empty(&self) -> bool {
        self.packets.is_none()
    }
}

impl Files {
    /// Finds out, before the work begins, whether all that was asked for can be written.
    pub(crate) fn prepare(args: &Replay) -> anyhow::Result<Self> {
        let packets = args.pcap.as_deref().map(|dir| Packets::prepare(dir, &args.captures));
        Ok(Self { packets: packets.transpose()?, captures: args.captures.clone() })
    }

    /// Writes it.
    pub(crate) fn write(&self, sources: &Sources, case: &Case) -> anyhow::Result<Written> {
        let packets = self.packets.as_ref().map(|to| to.write(&self.captures, sources, case));
        Ok(Written { packets: packets.transpose()? })
    }
}
