//! Examples for the newtypes of the domain.

use super::*;

#[test]
fn names_are_safe_everywhere() {
    assert_eq!(Name::new("orders-db").unwrap().as_str(), "orders-db");
    assert_eq!(Name::new(""), Err(NameError::Length));
    assert_eq!(Name::new(&"x".repeat(64)), Err(NameError::Length));
    assert_eq!(Name::new("-x"), Err(NameError::Start));
    assert_eq!(Name::new("a\u{1b}[31m"), Err(NameError::Character));
    assert_eq!(Name::new("a b"), Err(NameError::Character));
}

#[test]
fn resource_ids_compare_without_regard_to_case() {
    let a = ResourceId::parse(
        "/subscriptions/S/resourceGroups/RG/providers/Microsoft.Compute/virtualMachines/vm",
    )
    .unwrap();
    let b = ResourceId::parse(
        "/subscriptions/s/resourcegroups/rg/providers/microsoft.compute/virtualmachines/VM",
    )
    .unwrap();
    assert_eq!(a, b);
    assert_ne!(a.as_str(), b.as_str(), "what was written is what is sent");
    assert_eq!(a.subscription(), "S");
    assert_eq!(a.resource_group(), "RG");
    assert_eq!(a.name(), "vm");
    assert!(a.is_type("microsoft.compute/virtualmachines"));
}

#[test]
fn a_scale_set_instance_is_a_resource() {
    let id = ResourceId::parse(
        "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachineScaleSets/set/virtualMachines/3",
    )
    .unwrap();
    assert!(id.is_type("Microsoft.Compute/virtualMachineScaleSets/virtualMachines"));
    assert_eq!(id.name(), "3");
}

#[test]
fn crooked_resource_ids_are_refused() {
    for text in [
        "",
        "vm-web",
        "/subscriptions/s",
        "/subscriptions//resourceGroups/rg/providers/a.b/c/d",
        "/subscriptions/s/resourceGroups/rg/providers/a.b/c",
        "/subscriptions/s/resourceGroups/rg/providers/a.b/c/d/e",
        "/subscriptions/s/resourceGroups/rg/providers/a.b/c/d?x=1",
        "/subscriptions/s/resourceGroups/rg/providers/a.b/c/d e",
        "/subscriptions/s/resourceGroups/rg/providers/a.b/c/..",
        "/subscriptions/s/resourceGroups/rg/providers/a.b/c/d\u{1b}",
    ] {
        assert!(ResourceId::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_gateway_host_is_a_bare_dns_name() {
    let host = GatewayHost::parse("bst-0.bastion.azure.com", PortRule::Forbidden).unwrap();
    assert_eq!((host.name(), host.port()), ("bst-0.bastion.azure.com", 443));
    assert_eq!(host.to_string(), "bst-0.bastion.azure.com");
    for text in [
        "",
        "evil/@x",
        "user@bst.bastion.azure.com",
        "10.0.0.4",
        "127.1",
        "0x7f.1",
        "[::1]",
        "https://bst.bastion.azure.com",
        "bst.bastion.azure.com/path",
        "bst.bastion.azure.com:8443",
        "bst.bastion.azure.com#x",
        "bst.bastion.azure.com?x",
        "bst .bastion.azure.com",
        "bst..azure.com",
        "-bst.azure.com",
        "bst.azure.com\r\nX: y",
    ] {
        assert!(GatewayHost::parse(text, PortRule::Forbidden).is_err(), "{text:?}");
    }
    let lab = GatewayHost::parse("bst.lab.localhost:8443", PortRule::Allowed).unwrap();
    assert_eq!((lab.name(), lab.port()), ("bst.lab.localhost", 8443));
    assert_eq!(lab.to_string(), "bst.lab.localhost:8443");
    assert!(GatewayHost::parse("bst.lab:0", PortRule::Allowed).is_err());
    assert!(GatewayHost::parse("10.0.0.4:443", PortRule::Allowed).is_err());
}
