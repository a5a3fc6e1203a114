//! Exporters: templates, sampling, sequence numbers, and data sets that wait.

use crate::cursor::Cursor;
use crate::domain::Domain;
use crate::exporter::{Exporter, Exporters};
use crate::header::Header;
use crate::held::{HeldSet, cost};
use crate::sequence::{Last, Tally};
use crate::state::Out;
use crate::template::{Field, Kind, Template};
use crate::{Decoder, Limits};

pub(super) fn save(out: &mut Out, exporters: &Exporters) {
    let known = || exporters.order.iter().filter_map(|ip| Some((ip, exporters.get(*ip)?)));
    out.count(known().count());
    for (address, exporter) in known() {
        out.address(*address);
        out.u64(exporter.records);
        out.count(exporter.domains.len());
        for ((version, id), domain) in &exporter.domains {
            out.u16(*version);
            out.u32(*id);
            save_domain(out, domain);
        }
    }
}

fn save_domain(out: &mut Out, domain: &Domain) {
    out.time(domain.used);
    out.maybe(domain.told.booted, Out::time);
    out.maybe(domain.told.rate, Out::u32);
    out.count(domain.told.samplers.len());
    for (id, rate) in &domain.told.samplers {
        out.u64(*id);
        out.u32(*rate);
    }
    out.maybe(domain.sequence.0, save_last);
    out.maybe(domain.last_gap, Out::time);
    out.maybe(domain.last_missing, Out::time);
    out.count(domain.templates.len());
    for (id, template) in &domain.templates {
        out.u16(*id);
        save_template(out, template);
    }
    out.count(domain.held.sets.len());
    for set in &domain.held.sets {
        out.u16(set.id);
        save_header(out, &set.header);
        out.evidence(set.evidence);
        out.bytes(&set.bytes);
    }
}

fn save_last(out: &mut Out, last: Last) {
    out.u32(last.sequence);
    out.u32(last.tally.flows);
    out.u32(last.tally.options);
    out.u8(u8::from(last.tally.uncounted));
    out.time(last.export);
    out.maybe(last.booted, Out::time);
    out.u16(last.port);
}

fn save_template(out: &mut Out, template: &Template) {
    out.u8(u8::from(template.kind == Kind::Options));
    out.time(template.seen);
    out.count(template.fields.len());
    for field in &template.fields {
        out.u16(field.element);
        out.u32(field.enterprise);
        out.u16(field.len);
        out.u8(u8::from(field.is_v9_scope));
    }
}

fn save_header(out: &mut Out, header: &Header) {
    out.u16(header.version);
    out.u16(header.count);
    out.time(header.export);
    out.maybe(header.uptime_ms, Out::u32);
    out.u32(header.sequence);
    out.u32(header.domain);
    out.maybe(header.sampling, Out::u16);
}

/// Fills an empty decoder. What is beyond the limits, which may be lower than those that it was
/// saved under, is left out and counted nowhere: it is as if it had never come.
pub(super) fn read(cursor: &mut Cursor<'_>, decoder: &mut Decoder, limits: &Limits) -> Option<()> {
    for _ in 0..cursor.count()? {
        let address = cursor.address()?;
        let mut exporter = Exporter { records: cursor.u64()?, ..Exporter::default() };
        for _ in 0..cursor.count()? {
            let key = (cursor.u16()?, cursor.u32()?);
            let domain = read_domain(cursor, decoder, limits)?;
            if exporter.domains.len() < limits.domains_per_exporter {
                exporter.domains.insert(key, domain);
            }
        }
        let Exporters { by_address, order } = &mut decoder.exporters;
        if by_address.len() < limits.exporters && by_address.insert(address, exporter).is_none() {
            order.push_back(address);
        }
    }
    Some(())
}

fn read_domain(cursor: &mut Cursor<'_>, decoder: &mut Decoder, limits: &Limits) -> Option<Domain> {
    let mut domain = Domain { used: cursor.time()?, ..Domain::default() };
    domain.told.booted = cursor.maybe(Cursor::time)?;
    domain.told.rate = cursor.maybe(Cursor::u32)?;
    for _ in 0..cursor.count()? {
        let (id, rate) = (cursor.u64()?, cursor.u32()?);
        if domain.told.samplers.len() < limits.samplers {
            domain.told.samplers.insert(id, rate);
        }
    }
    domain.sequence.0 = cursor.maybe(read_last)?;
    domain.last_gap = cursor.maybe(Cursor::time)?;
    domain.last_missing = cursor.maybe(Cursor::time)?;
    for _ in 0..cursor.count()? {
        let (id, template) = (cursor.u16()?, read_template(cursor, limits)?);
        let Some(template) = template else { continue };
        let fields = decoder.fields.saturating_add(template.cost());
        if domain.templates.len() < limits.templates_per_domain && fields <= limits.fields {
            decoder.fields = fields;
            domain.templates.insert(id, template);
        }
    }
    for _ in 0..cursor.count()? {
        let (id, header) = (cursor.u16()?, read_header(cursor)?);
        let (evidence, bytes) = (cursor.evidence()?, cursor.bytes()?.into());
        let set = HeldSet { id, bytes, header, evidence };
        let held = decoder.held.saturating_add(cost(&set));
        if held <= limits.held_bytes {
            decoder.held = held;
            domain.held.push(set);
        }
    }
    Some(domain)
}

fn read_last(cursor: &mut Cursor<'_>) -> Option<Last> {
    let sequence = cursor.u32()?;
    let (flows, options) = (cursor.u32()?, cursor.u32()?);
    let tally = Tally { flows, options, uncounted: cursor.flag()? };
    let (export, booted) = (cursor.time()?, cursor.maybe(Cursor::time)?);
    Some(Last { sequence, tally, export, booted, port: cursor.u16()? })
}

/// Nothing inside for a template that the limits refuse now.
fn read_template(cursor: &mut Cursor<'_>, limits: &Limits) -> Option<Option<Template>> {
    let kind = if cursor.flag()? { Kind::Options } else { Kind::Flow };
    let seen = cursor.time()?;
    let count = cursor.count()?;
    let mut fields = Vec::new();
    for _ in 0..count {
        let (element, enterprise, len) = (cursor.u16()?, cursor.u32()?, cursor.u16()?);
        let field = Field { element, enterprise, len, is_v9_scope: cursor.flag()? };
        if count <= limits.fields_per_template {
            fields.push(field);
        }
    }
    Some(Template::new(kind, fields, seen))
}

fn read_header(cursor: &mut Cursor<'_>) -> Option<Header> {
    Some(Header {
        version: cursor.u16()?,
        count: cursor.u16()?,
        export: cursor.time()?,
        uptime_ms: cursor.maybe(Cursor::u32)?,
        sequence: cursor.u32()?,
        domain: cursor.u32()?,
        sampling: cursor.maybe(Cursor::u16)?,
    })
}
