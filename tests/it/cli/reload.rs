//! What `reload` says.

use bastion::control::{Answer, Refused, Request};

use super::said_of;
use super::stage::{Stage, WORKSPACE};
use crate::process::{PATIENCE, output};

#[tokio::test]
async fn what_changed() {
    let stage = Stage::answering(Vec::new(), |_| {
        let lines = vec!["+ page  8080 -> web:80".to_owned(), "= 1 \u{1b}[2Junchanged".to_owned()];
        Ok(Answer::Applied { generation: 7, started: vec!["page".to_owned()], lines })
    });
    insta::assert_snapshot!(stage.said(&["reload"]).await, @r"
    exit 0
    ----- out
    + page  8080 -> web:80
    = 1 ␛[2Junchanged
    ");
    insta::assert_snapshot!(stage.said(&["reload", "--format", "json"]).await, @r#"
    exit 0
    ----- out
    {"version":1,"generation":7,"lines":["+ page  8080 -> web:80","= 1 ␛[2Junchanged"]}
    "#);
}

#[tokio::test]
async fn variables_go_with_it_and_are_not_shown() {
    let stage = Stage::new(Vec::new());
    let mut command = stage.env.bastion(&["-vv", "reload"]);
    command.env("BASTION_PASSWORD", "hunter2").env("SECRET", "hunter3");
    let said = stage.words(&output(command, PATIENCE).await);
    assert_eq!(said, "exit 0\n----- err\nThe files were read again");
    let asked = stage.asked(1).await;
    let [Request::Reload { variables, .. }] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(variables.get("BASTION_PASSWORD").map(String::as_str), Some("hunter2"));
    assert_eq!(variables.get("SECRET"), None, "only those that a file may name");
}

#[tokio::test]
async fn a_file_with_mistakes() {
    let stage = Stage::answering(Vec::new(), |_| {
        Err(Refused {
            report: Some("error[syntax]: unclosed table\n --> bastion.toml:1:9\n\u{1b}[31m".to_owned()),
            ..Refused::new("rejected", "bastion.toml has 1 mistake; nothing was changed", None)
        })
    });
    insta::assert_snapshot!(stage.said(&["reload"]).await, @r"
    exit 2
    ----- err
    error[syntax]: unclosed table
     --> bastion.toml:1:9
    ␛[31m

    error: bastion.toml has 1 mistake; nothing was changed [rejected]
    ");
}

#[tokio::test]
async fn another_release() {
    let stage = Stage::answering(Vec::new(), |_| {
        let what =
            "the running instance is bastion 9.0.0, whose interface is edition 9; it was asked for `v1`";
        Err(Refused::new("version-skew", what, Some("`bastion down` stops it")))
    });
    insta::assert_snapshot!(stage.said(&["reload"]).await, @r"
    exit 1
    ----- err
    error: the running instance is bastion 9.0.0, whose interface is edition 9; it was asked for `v1` [version-skew]
    hint: `bastion down` stops it
    ");
}

#[tokio::test]
async fn nothing_runs() {
    insta::assert_snapshot!(said_of(WORKSPACE, &["reload"]).await, @r"
    exit 1
    ----- err
    error: nothing runs for bastion.toml [not-running]
    hint: `bastion up` starts it
    ");
}
