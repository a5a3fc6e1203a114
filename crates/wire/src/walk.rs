//! Walks a frame from its link header inwards to the innermost transport header.
//!
//! Every header function takes its bytes off [`Walk::rest`] and names the header that comes next.
//! Each step is paid from [`Walk::budget`], which bounds the work for a frame.

use std::net::IpAddr;

use tw_model::{Evidence, MacAddress, NetworkTag};

use crate::cut::Cut;
use crate::{LinkType, Packet, ip, link, transport, tunnel};

/// Why a frame gives no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reject {
    NotIp,
    UnknownLink,
    LinkCut,
    IpCut,
    IpMalformed,
    TransportMalformed,
    NestingLimit,
}

/// The header that comes next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layer<'a> {
    Ethernet,
    Vlan,
    Llc,
    Cooked,
    Cooked2,
    Loopback,
    Ppp,
    PppSerial,
    CiscoHdlc,
    Pppoe,
    Mpls,
    Wifi,
    Radiotap,
    PerPacketInformation,
    NetfilterLog,
    BackboneTag,
    InterfaceTag,
    Ip,
    Ipv4,
    Ipv6,
    IpPayload { header: IpHeader, protocol: u8 },
    Fragment(Fragment<'a>),
}

/// What later headers need to know of an IP header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IpHeader {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    /// Header and payload by the header's own length.
    pub(crate) len: u32,
    /// IPv4 identification.
    pub(crate) id: u16,
    pub(crate) hop_limit: u8,
}

/// A part of an IP datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment<'a> {
    pub(crate) header: IpHeader,
    /// IPv4 or IPv6 identification.
    pub(crate) id: u32,
    /// IPv4 protocol, or IPv6 next header.
    pub(crate) protocol: u8,
    /// Bytes from the start of the datagram's payload.
    pub(crate) offset: u32,
    /// Are there more fragments behind it?
    pub(crate) more: bool,
    pub(crate) data: Cut<'a>,
}

/// What a walk ends with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'a> {
    Packet(Packet<'a>),
    Fragment(Fragment<'a>),
}

/// Where a walk stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk<'a> {
    /// What is left of the frame.
    pub(crate) rest: Cut<'a>,
    pub(crate) evidence: Evidence,
    pub(crate) tag: NetworkTag,
    pub(crate) macs: Option<(MacAddress, MacAddress)>,
    /// Headers that may still be read.
    pub(crate) budget: u8,
    /// An IP header claimed more bytes than there were.
    pub(crate) length_beyond_frame: bool,
    /// The packet around the tunnel that is being read: it stands when the tunnel holds no IP.
    pub(crate) outer: Option<Packet<'a>>,
}

impl<'a> Walk<'a> {
    /// Reads headers from `layer` on until a packet or a fragment is found.
    pub(crate) fn run(&mut self, layer: Layer<'a>) -> Result<Found<'a>, Reject> {
        match (self.inwards(layer), self.outer) {
            (Err(reject), Some(outer)) if reject != Reject::NestingLimit => {
                Ok(Found::Packet(outer))
            }
            (found, _) => found,
        }
    }

    fn inwards(&mut self, mut layer: Layer<'a>) -> Result<Found<'a>, Reject> {
        loop {
            self.budget = self.budget.checked_sub(1).ok_or(Reject::NestingLimit)?;
            layer = match layer {
                Layer::Ethernet => link::ethernet(self)?,
                Layer::Ipv4 => ip::v4(self)?,
                Layer::Ipv6 => ip::v6(self)?,
                Layer::IpPayload { header, protocol } => {
                    if let Some(next) = ip::extension(self, header, protocol)? {
                        next
                    } else if let Some(next) = tunnel::enter(self, header, protocol) {
                        next
                    } else {
                        return transport::packet(self, header, protocol).map(Found::Packet);
                    }
                }
                Layer::Fragment(fragment) => return Ok(Found::Fragment(fragment)),
                Layer::Vlan => link::vlan(self)?,
                Layer::Llc => link::llc(self)?,
                Layer::Cooked => link::cooked(self)?,
                Layer::Cooked2 => link::cooked2(self)?,
                Layer::Loopback => link::loopback(self)?,
                Layer::Ppp => link::ppp(self)?,
                Layer::PppSerial => link::ppp_serial(self)?,
                Layer::CiscoHdlc => link::cisco_hdlc(self)?,
                Layer::Pppoe => link::pppoe(self)?,
                Layer::Mpls => link::mpls(self)?,
                Layer::Wifi => link::wifi(self)?,
                Layer::Radiotap => link::radiotap(self)?,
                Layer::PerPacketInformation => link::per_packet_information(self)?,
                Layer::NetfilterLog => link::netfilter_log(self)?,
                Layer::BackboneTag => link::backbone_tag(self)?,
                Layer::InterfaceTag => link::interface_tag(self)?,
                Layer::Ip => ip::either(self)?,
            };
        }
    }
}

/// <https://www.tcpdump.org/linktypes.html>
pub(crate) fn first_layer(link: LinkType) -> Result<Layer<'static>, Reject> {
    Ok(match link.0 {
        1 => Layer::Ethernet,
        0 | 108 => Layer::Loopback,
        9 | 50 => Layer::PppSerial,
        51 => Layer::Pppoe,
        12 | 14 | 101 | 228 | 229 => Layer::Ip,
        104 => Layer::CiscoHdlc,
        105 => Layer::Wifi,
        113 => Layer::Cooked,
        127 => Layer::Radiotap,
        192 => Layer::PerPacketInformation,
        239 => Layer::NetfilterLog,
        276 => Layer::Cooked2,
        _ => return Err(Reject::UnknownLink),
    })
}
