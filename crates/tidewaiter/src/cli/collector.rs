//! `collector`: flow records from the network to findings, until it is stopped.

use std::io::{IsTerminal as _, Write};
use std::time::Duration;

use anyhow::Context as _;
use tw_capture::{Asked, CaptureError, Exports, Listening, Signals};

use super::Ended;
use super::args::Collector;
use super::common;
use crate::live::{Output, Service};
use crate::settings::{Settings, SettingsError, listen_on};

/// How long to wait for datagrams before the clock is looked at.
const WAIT: Duration = Duration::from_millis(100);

pub(crate) fn run(args: &Collector) -> anyhow::Result<Ended> {
    // Before any thread is there.
    let signals = Signals::take().context("cannot take signals over")?;
    let settings = settings(args)?;
    let exports = open(&settings)?;
    let folder = common::data_dir(&args.place)?;
    let service = Service::start(settings, folder)?;
    let mut out: Box<dyn Write> = if std::io::stdout().is_terminal() {
        Box::new(anstream::AutoStream::auto(std::io::stdout()))
    } else {
        Box::new(anstream::StripStream::new(std::io::stdout()))
    };
    let mut output = Output { format: args.format, sensor: &args.sensor, out: &mut *out };
    let (service, ran) = collect(args, &signals, &exports, service, &mut output)?;
    let findings = service.finish(&exports, &mut output);
    ran?;
    let worst = findings?.into_keys().max();
    Ok(match (args.fail_on, worst) {
        (Some(bar), Some(worst)) if worst >= bar => Ended::Found,
        _ => Ended::Ran,
    })
}

/// Runs until it is asked to stop, or standard output is gone; either way the service is given back,
/// for it has things to save.
fn collect(
    args: &Collector,
    signals: &Signals,
    exports: &Exports,
    mut service: Service,
    output: &mut Output<'_>,
) -> anyhow::Result<(Service, anyhow::Result<()>)> {
    loop {
        match signals.next() {
            Some(Asked::Stop) => break,
            Some(Asked::Reload) => match reload(args, exports) {
                Ok(settings) => service = service.reload(settings)?,
                Err(error) => tracing::error!("the old configuration stays in use: {error:#}"),
            },
            None => {}
        }
        if let Some(batch) = exports.next(WAIT) {
            service.take(&batch);
        }
        if let Err(error) = service.tick(exports, output) {
            return Ok((service, Err(error)));
        }
    }
    exports.stop();
    while let Some(batch) = exports.next(WAIT.saturating_mul(3)) {
        service.take(&batch);
    }
    Ok((service, Ok(())))
}

/// What the configuration and the command line say together.
fn settings(args: &Collector) -> Result<Settings, SettingsError> {
    let mut settings = common::settings(&args.place)?;
    let addresses = |key: &str, list: &[String]| {
        let mut all = Vec::new();
        for text in list {
            let found = listen_on(text).ok_or_else(|| {
                let message = "no address and port such as 0.0.0.0:2055, and no port";
                SettingsError::Usage(format!("--{key} {text}: {message}"))
            })?;
            all.extend(found);
        }
        Ok::<_, SettingsError>(all)
    };
    if !args.listen.is_empty() {
        settings.collector.listen = addresses("listen", &args.listen)?;
        settings.collector.listen_is_default = false;
    }
    if !args.listen_tcp.is_empty() {
        settings.collector.listen_tcp = addresses("listen-tcp", &args.listen_tcp)?;
        if args.listen.is_empty() && settings.collector.listen_is_default {
            settings.collector.listen.clear();
        }
    }
    Ok(settings)
}

/// Opens the sockets and says what the kernel made of it. Of the default ones those that this host
/// cannot have (it may lack IPv6) are left out.
fn open(settings: &Settings) -> anyhow::Result<Exports> {
    let wanted = &settings.collector;
    let mut listening = Listening {
        udp: wanted.listen.clone(),
        tcp: wanted.listen_tcp.clone(),
        receive_buffer: wanted.receive_buffer_bytes,
        tcp_connections: wanted.tcp_connections,
    };
    let exports = loop {
        match Exports::open(&listening) {
            Ok(exports) => break exports,
            Err(CaptureError::Listen { address, error })
                if wanted.listen_is_default && address.is_ipv6() && listening.udp.len() > 1 =>
            {
                tracing::warn!("not listening on {address}: {error}");
                listening.udp.retain(|other| *other != address);
            }
            Err(error) => return Err(error.into()),
        }
    };
    for opened in exports.opened() {
        let kind = if opened.receive_buffer.is_some() { "UDP" } else { "TCP" };
        tracing::info!("listening on {} ({kind})", opened.address);
    }
    let least = exports.opened().iter().filter_map(|opened| opened.receive_buffer).min();
    if let Some(given) = least.filter(|given| *given < wanted.receive_buffer_bytes) {
        tracing::warn!(
            "the kernel gave a receive buffer of {given} bytes instead of {}: raise net.core.rmem_max, \
             or run with CAP_NET_ADMIN",
            wanted.receive_buffer_bytes
        );
    }
    Ok(exports)
}

/// The configuration as it is now. Sockets stay as they are.
fn reload(args: &Collector, exports: &Exports) -> Result<Settings, SettingsError> {
    let settings = settings(args)?;
    let wanted = settings.collector.listen.len() + settings.collector.listen_tcp.len();
    let open = exports.opened();
    let all = settings.collector.listen.iter().chain(&settings.collector.listen_tcp);
    let same = |address: &std::net::SocketAddr| {
        address.port() == 0 || open.iter().any(|opened| opened.address == *address)
    };
    if !settings.collector.listen_is_default && (wanted != open.len() || !all.clone().all(same)) {
        tracing::warn!("other addresses to listen on need a restart");
    }
    tracing::info!("configuration read again");
    Ok(settings)
}
