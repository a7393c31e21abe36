//! What `port` prints.

use bastion::model::State;

use super::said_of;
use super::stage::{Stage, WORKSPACE, ill, ready};

#[tokio::test]
async fn where_it_listens() {
    let stage = Stage::new(vec![ready("page", 8080), ill("orders", State::Blocked, "port-taken")]);
    assert_eq!(stage.said(&["port", "page"]).await, "exit 0\n----- out\n127.0.0.1:8080");
    insta::assert_snapshot!(stage.said(&["port", "page", "--format", "json"]).await, @r#"
    exit 0
    ----- out
    {"tunnel":"page","listen":["127.0.0.1:8080","[::1]:8080"]}
    "#);
    insta::assert_snapshot!(stage.said(&["port", "orders"]).await, @r"
    exit 1
    ----- err
    error: tunnel `orders` does not listen: the gateway bst refused a session: HTTP 503 [port-taken]
    hint: mend it
    ");
    insta::assert_snapshot!(stage.said(&["port", "debug"]).await, @r"
    exit 1
    ----- err
    error: tunnel `debug` does not run [not-running]
    hint: `bastion up debug` starts it
    ");
    insta::assert_snapshot!(stage.said(&["port", "pgae"]).await, @r"
    exit 2
    ----- err
    error: there is no tunnel `pgae` in this workspace [unknown-tunnel]
    hint: did you mean `page`?
    ");
    insta::assert_snapshot!(stage.said(&["port", "p*"]).await, @r"
    exit 2
    ----- err
    error: `p*` cannot be the name of a tunnel: a name is made of letters, digits, `-`, `_` and `.`
    ");
}

#[tokio::test]
async fn nothing_runs() {
    insta::assert_snapshot!(said_of(WORKSPACE, &["port", "page"]).await, @r"
    exit 1
    ----- err
    error: nothing runs for bastion.toml [not-running]
    hint: `bastion up` starts it
    ");
    // Whether there is such a tunnel, nobody can say.
    assert_eq!(said_of("[tunnels", &["port", "page"]).await, said_of(WORKSPACE, &["port", "page"]).await);
    insta::assert_snapshot!(said_of(WORKSPACE, &["port", "pgae"]).await, @r"
    exit 2
    ----- err
    error: there is no tunnel `pgae` in this workspace [unknown-tunnel]
    hint: did you mean `page`?
    ");
}
