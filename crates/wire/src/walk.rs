//! Walks a frame from its link header inwards to the innermost transport header.
//!
//! Every header function takes its bytes off [`Walk::rest`] and names the header that comes next.
//! Each step is paid from [`Walk::budget`], which bounds the work for a frame.

use std::net::{IpAddr, Ipv4Addr};

use tw_model::{Evidence, MacAddress, NetworkTag};

use crate::cut::Cut;
use crate::{LinkType, Packet, ip, link, rare, transport, tunnel};

/// Why a frame gives no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reject {
    NotIp,
    UnknownLink,
    LinkCut,
    IpCut,
    IpMalformed,
    NestingLimit,
}

/// The header that comes next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layer {
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
    TokenRing,
    Fddi,
    FrameRelay,
    SunAtm,
    Arcnet,
    SolarisIpnet,
    Ip,
    Ipv4,
    Ipv6,
    /// What follows an IP header or an extension header: its protocol.
    IpPayload(u8),
    Fragment(Part),
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
    /// Put together of fragments that overlap.
    pub(crate) overlapped: bool,
}

impl IpHeader {
    /// Stands where no IP header was read yet.
    pub(crate) const NONE: Self = Self {
        src: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        dst: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        len: 0,
        id: 0,
        hop_limit: 0,
        overlapped: false,
    };
}

/// Which part of its datagram a fragment is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// IPv4 or IPv6 identification.
    pub(crate) id: u32,
    /// IPv4 protocol, or IPv6 next header.
    pub(crate) protocol: u8,
    /// Bytes from the start of the datagram's payload.
    pub(crate) offset: u32,
    /// Are there more fragments behind it?
    pub(crate) more: bool,
}

/// What a walk ends with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'a> {
    Packet(Packet<'a>),
    /// The rest of the frame is this part of a datagram.
    Fragment(Part),
}

/// Where a walk stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk<'a> {
    /// What is left of the frame.
    pub(crate) rest: Cut<'a>,
    pub(crate) evidence: Evidence,
    pub(crate) tag: NetworkTag,
    pub(crate) macs: Option<(MacAddress, MacAddress)>,
    /// The innermost IP header so far.
    pub(crate) header: IpHeader,
    /// Headers that may still be read.
    pub(crate) budget: u8,
    /// An IP header claimed more bytes than there were.
    pub(crate) length_beyond_frame: bool,
    /// The TCP or UDP header contradicts itself.
    pub(crate) transport_malformed: bool,
    /// The packet around the tunnel that is being read: it stands when the tunnel holds no IP.
    pub(crate) outer: Option<Packet<'a>>,
}

impl<'a> Walk<'a> {
    /// Reads headers from `layer` on until a packet or a fragment is found.
    pub(crate) fn run(&mut self, layer: Layer) -> Result<Found<'a>, Reject> {
        let found = self.inwards(layer);
        if let Err(reject) = found
            && reject != Reject::NestingLimit
            && let Some(outer) = self.outer
        {
            return Ok(Found::Packet(outer));
        }
        found
    }

    fn inwards(&mut self, mut layer: Layer) -> Result<Found<'a>, Reject> {
        loop {
            self.budget = self.budget.checked_sub(1).ok_or(Reject::NestingLimit)?;
            layer = match layer {
                Layer::Ethernet => link::ethernet(self)?,
                Layer::Ipv4 => ip::v4(self)?,
                Layer::Ipv6 => ip::v6(self)?,
                Layer::IpPayload(protocol) => {
                    if let Some(next) = ip::extension(self, protocol)? {
                        next
                    } else if let Some(next) = tunnel::enter(self, protocol) {
                        next
                    } else {
                        return Ok(Found::Packet(transport::packet(self, protocol)));
                    }
                }
                Layer::Fragment(part) => return Ok(Found::Fragment(part)),
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
                Layer::TokenRing => rare::token_ring(self)?,
                Layer::Fddi => rare::fddi(self)?,
                Layer::FrameRelay => rare::frame_relay(self)?,
                Layer::SunAtm => rare::sun_atm(self)?,
                Layer::Arcnet => rare::arcnet(self)?,
                Layer::SolarisIpnet => rare::solaris_ipnet(self)?,
                Layer::Ip => ip::either(self)?,
            };
        }
    }
}

/// <https://www.tcpdump.org/linktypes.html>
pub(crate) fn first_layer(link: LinkType) -> Result<Layer, Reject> {
    Ok(match link.0 {
        1 => Layer::Ethernet,
        0 | 108 => Layer::Loopback,
        6 => Layer::TokenRing,
        9 | 50 => Layer::PppSerial,
        10 => Layer::Fddi,
        51 => Layer::Pppoe,
        12 | 14 | 101 | 228 | 229 => Layer::Ip,
        104 => Layer::CiscoHdlc,
        105 => Layer::Wifi,
        107 => Layer::FrameRelay,
        113 => Layer::Cooked,
        123 => Layer::SunAtm,
        127 => Layer::Radiotap,
        129 => Layer::Arcnet,
        192 => Layer::PerPacketInformation,
        226 => Layer::SolarisIpnet,
        239 => Layer::NetfilterLog,
        276 => Layer::Cooked2,
        _ => return Err(Reject::UnknownLink),
    })
}
