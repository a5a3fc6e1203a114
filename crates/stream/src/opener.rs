//! Who opened a connection of which the beginning was not captured.

/// Is the source of this packet the side that offers the service, judged by the ports?
pub(crate) fn source_serves(src_port: u16, dst_port: u16) -> bool {
    match (is_service(src_port), is_service(dst_port)) {
        (true, false) => true,
        (false, true) => false,
        _ => src_port < dst_port,
    }
}

/// Ports that are seldom ephemeral although they lie above 1023, where old systems draw their
/// ephemeral ports from: container APIs, registries and proxies.
fn is_service(port: u16) -> bool {
    port < 1024 || SERVICES.contains(&port)
}

const SERVICES: [u16; 13] =
    [1080, 1234, 2375, 2376, 2377, 3128, 4243, 4244, 5000, 6443, 8080, 8443, 10250];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_port_beats_a_lower_port() {
        assert!(source_serves(2375, 1050));
        assert!(!source_serves(1050, 2375));
    }

    #[test]
    fn lower_port_serves_otherwise() {
        assert!(source_serves(80, 40000));
        assert!(!source_serves(40000, 9999));
        assert!(!source_serves(7, 7));
    }
}
