//! Machines, sets and interfaces as ARM was seen to describe them, and as nobody should.

use super::*;

const SET: &str =
    "/subscriptions/s/resourceGroups/RG/providers/Microsoft.Compute/virtualMachineScaleSets/api";

fn id(text: &str) -> ResourceId {
    ResourceId::parse(text).unwrap()
}

fn instance(number: &str, power: Power) -> Instance {
    Instance { id: id(&format!("{SET}/virtualMachines/{number}")), power, provisioned: true }
}

fn chosen(all: &[Instance], before: Option<&str>) -> Result<String, NoMachine> {
    let before = before.map(|number| instance(number, Power::Unknown).id);
    Instance::choose(all, before.as_ref(), &id(SET)).map(|id| id.name().to_owned())
}

#[test]
fn a_machine_says_whether_it_runs_and_what_is_absent_says_nothing() {
    let read = |properties: &str| {
        Machine::read(format!(r#"{{"id":"x","properties":{{{properties}}}}}"#).as_bytes()).unwrap()
    };
    let power = |code: &str| {
        read(&format!(
            r#""instanceView":{{"statuses":[{{"code":"ProvisioningState/succeeded"}},{{"code":"{code}"}}]}}"#
        ))
        .power
    };
    assert_eq!(power("PowerState/running"), Power::Running);
    assert_eq!(power("powerstate/DEALLOCATED"), Power::Deallocated);
    assert_eq!(power("PowerState/unknown"), Power::Unknown);
    assert_eq!(power("HibernationState/Hibernated"), Power::Unknown);
    for nothing in ["", r#""instanceView":null"#, r#""instanceView":{}"#, r#""networkProfile":{}"#] {
        assert_eq!(read(nothing), Machine { power: Power::Unknown, interfaces: Vec::new() }, "{nothing}");
    }
    assert!(!Power::Unknown.is_off() && !Power::Running.is_off() && Power::Starting.is_off());
    for wrong in ["{}", "[]", "", r#"{"properties":3}"#] {
        assert_eq!(Machine::read(wrong.as_bytes()), Err(ReadError::NotJson("a machine")), "{wrong}");
    }
}

#[test]
fn the_primary_interface_comes_first() {
    let nic = |name: &str| {
        format!("/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkInterfaces/{name}")
    };
    let body = format!(
        r#"{{"properties":{{"networkProfile":{{"networkInterfaces":[{{"id":"{}"}},{{"id":"{}","properties":{{"primary":true}}}},{{"id":"crooked"}}]}}}}}}"#,
        nic("one"),
        nic("two")
    );
    let names: Vec<_> =
        Machine::read(body.as_bytes()).unwrap().interfaces.iter().map(|id| id.name().to_owned()).collect();
    assert_eq!(names, ["two", "one"]);
}

#[test]
fn a_set_is_listed_as_it_is_orchestrated() {
    let read = |properties: &str| {
        ScaleSet::read(format!(r#"{{"properties":{{{properties}}}}}"#).as_bytes()).unwrap()
    };
    assert_eq!(read(""), ScaleSet::Uniform);
    assert_eq!(read(r#""orchestrationMode":"Uniform""#), ScaleSet::Uniform);
    assert_eq!(read(r#""orchestrationMode":"flexible""#), ScaleSet::Flexible);
    let uniform = ScaleSet::Uniform.instances_of(&id(SET));
    assert_eq!(uniform, (format!("{SET}/virtualMachines"), None));
    let (path, filter) = ScaleSet::Flexible.instances_of(&id(SET));
    assert_eq!(path, "/subscriptions/s/resourceGroups/RG/providers/Microsoft.Compute/virtualMachines");
    assert_eq!(filter.unwrap(), format!("'virtualMachineScaleSet/id' eq '{SET}'"));
}

#[test]
fn an_instance_is_of_its_kind() {
    let value =
        |id: &str| serde_json::json!({ "id": id, "properties": { "provisioningState": "succeeded" } });
    let numbered =
        format!("{}/VIRTUALMACHINES/3", SET.to_ascii_uppercase().replace("/SUBSCRIPTIONS", "/subscriptions"));
    let read = Instance::read(&value(&numbered), ScaleSet::Uniform).unwrap();
    assert_eq!((read.id.as_str(), read.provisioned), (&*numbered, true), "as ARM wrote it");
    assert!(Instance::read(&value(&numbered), ScaleSet::Flexible).is_err());
    let named = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/api_1a2b";
    assert!(Instance::read(&value(named), ScaleSet::Flexible).is_ok());
    let error = Instance::read(&value("evil/@x\u{1b}[31m"), ScaleSet::Uniform).unwrap_err();
    assert!(!error.to_string().contains('\u{1b}'), "{error}");
}

#[test]
fn an_interface_belongs_to_a_machine_or_to_none() {
    let read = |properties: &str| read_interface(format!(r#"{{"properties":{{{properties}}}}}"#).as_bytes());
    assert_eq!(read(""), Ok(None));
    assert_eq!(read(r#""virtualMachine":null"#), Ok(None));
    let machine = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/v";
    assert_eq!(read(&format!(r#""virtualMachine":{{"id":"{machine}"}}"#)), Ok(Some(id(machine))));
    let disk = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/v";
    assert!(read(&format!(r#""virtualMachine":{{"id":"{disk}"}}"#)).is_err());
}

#[test]
fn the_first_that_runs_is_chosen_and_kept_while_it_does() {
    let all = [
        instance("10", Power::Running),
        instance("9", Power::Running),
        instance("2", Power::Deallocated),
        instance("1", Power::Unknown),
    ];
    assert_eq!(chosen(&all, None).unwrap(), "9", "numbers, not texts");
    assert_eq!(chosen(&all, Some("10")).unwrap(), "10", "kept");
    assert_eq!(chosen(&all, Some("2")).unwrap(), "9", "it does not run any more");
    assert_eq!(chosen(&all, Some("77")).unwrap(), "9", "it is gone");
    let mut making = all.clone();
    making[1].provisioned = false;
    assert_eq!(chosen(&making, Some("9")).unwrap(), "10", "it is being deleted, or made");
    assert_eq!(chosen(&all[2..], None).unwrap(), "1", "untold is better than none");
}

#[test]
fn where_none_runs_it_is_said_what_they_are() {
    let all = [
        instance("0", Power::Deallocated),
        instance("1", Power::Starting),
        instance("2", Power::Deallocated),
    ];
    let error = chosen(&all, None).unwrap_err();
    assert_eq!(error.to_string(), "no instance of the scale set `api` is running: 1 starting, 2 deallocated");
    assert_eq!(error.disposition(), Disposition::Retry);
    assert_eq!(
        chosen(&[], None).unwrap_err().to_string(),
        "no instance of the scale set `api` is running: it has none"
    );
}
