//! A long walk of edits, each from nowhere in particular to anywhere: after each one every port leads where the file
//! says, and a tunnel that is in all of them never notices.

use std::collections::BTreeMap;

use super::calm::Calm;
use super::knocker::Knocker;
use super::{Scene, closed, free_port, live};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const TARGETS: [&str; 2] = ["one", "two"];

/// Numbers that look like chance and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides as u64).unwrap()
    }
}

/// Which server answers on which port, and the tunnels that bring it about.
fn edit(dice: &mut Dice, ports: &[u16]) -> (BTreeMap<u16, &'static str>, String) {
    let (mut free, mut answers, mut text) = (ports.to_vec(), BTreeMap::new(), String::new());
    // The first port always leads somewhere, by whatever name.
    for number in 0..1 + dice.roll(NAMES.len()) {
        let port = if number == 0 { free.remove(0) } else { free.remove(dice.roll(free.len())) };
        answers.insert(port, TARGETS[dice.roll(TARGETS.len())]);
    }
    let mut names = NAMES.to_vec();
    for (port, target) in &answers {
        let name = names.remove(dice.roll(names.len()));
        text.push_str(&format!("{name} = \"{port} -> {target}:7\"\n"));
    }
    (answers, text)
}

#[tokio::test]
async fn after_every_edit_each_port_leads_where_the_file_says() {
    let calm = "calm = \"0 -> three:7\"\n";
    let ports: Vec<u16> = (0..6).map(|_| free_port()).collect();
    let mut dice = Dice(20);
    let (_, first) = edit(&mut dice, &ports);
    let scene = Scene::start(&format!("{calm}{first}")).await;
    let mut untouched = Calm::start(&scene).await;
    let knocker = Knocker::start(ports[0]);
    for step in 0..20 {
        let (answers, text) = edit(&mut dice, &ports);
        let saved = scene.edit(&format!("{calm}{text}"));
        for (port, server) in &answers {
            drop(live(*port, server, saved, &format!("step {step} of a walk")).await);
        }
        for port in ports.iter().filter(|port| !answers.contains_key(*port)) {
            closed(*port).await;
        }
        untouched.goes_on().await;
    }
    knocker.end().await;
    untouched.end(&scene).await;
    let said = scene.env.finish(scene.up).await;
    assert!(!said.contains("WARN") && !said.contains("blocked"), "{said}");
}
