//! Ports that not everybody may listen on.

/// Below this one a right is needed, where the system says nothing else.
const USUAL: u16 = 1024;

/// Whether listening on this port needs a right.
pub fn is_privileged(port: u16) -> bool {
    port < first_free()
}

/// The first port that needs no right: an administrator may have moved it.
#[cfg(target_os = "linux")]
fn first_free() -> u16 {
    let set = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    // Above all ports is 65536.
    set.ok()
        .and_then(|text| text.trim().parse::<u32>().ok())
        .map_or(USUAL, |first| u16::try_from(first).unwrap_or(u16::MAX))
}

/// The system does not say.
#[cfg(not(target_os = "linux"))]
fn first_free() -> u16 {
    USUAL
}

/// What gives a user the right to listen on a port, besides taking another one; `None` where nothing simple does.
#[cfg(target_os = "linux")]
pub fn privilege_remedy(port: u16) -> Option<String> {
    let us = std::env::current_exe().ok();
    let us = us.map_or_else(|| "bastion".to_owned(), |path| path.to_string_lossy().into_owned());
    Some(format!(
        "`sudo setcap cap_net_bind_service=+ep '{us}'` gives the right to this program, \
         `sudo sysctl net.ipv4.ip_unprivileged_port_start={port}` to everybody"
    ))
}

/// What gives a user the right to listen on a port, besides taking another one; `None` where nothing simple does.
#[cfg(not(target_os = "linux"))]
pub fn privilege_remedy(_port: u16) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_port_is_never_free_for_all_by_default() {
        // An administrator, or a container's runtime, may have moved the first free port; none is above this.
        assert!(!is_privileged(u16::MAX));
        assert_eq!(is_privileged(22), first_free() > 22);
    }
}
