//! The short form of a tunnel, `"8080 -> web:80"`, as the table that it stands for: so layers can change parts of it.
//!
//! Only what has the right shape is expanded. What has not stays the string that it is, and is refused as one later.

use std::ops::Range;

use super::document::{Form, Map, Member, Node, Value};

/// Expands every tunnel of a layer that is in short form.
pub(super) fn short_forms(layer: &mut Map) {
    let Some(Member { value: Node { value: Value::Table(tunnels), .. }, .. }) = layer.get_mut("tunnels")
    else {
        return;
    };
    for tunnel in tunnels.values_mut() {
        if let Some(long) = long_form(tunnel) {
            tunnel.value = Value::Table(long);
        }
    }
}

/// Where the parts between arrows stand, without the blanks around them.
pub(super) fn split_arrows(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut parts = Vec::new();
    for piece in text.split("->") {
        let trimmed = piece.trim();
        let blank = piece.len() - piece.trim_start().len();
        parts.push(start + blank..start + blank + trimmed.len());
        start += piece.len() + "->".len();
    }
    parts
}

fn long_form(tunnel: &Node) -> Option<Map> {
    let Value::Text(text, form) = &tunnel.value else { return None };
    let [listen, goal] = <[Range<usize>; 2]>::try_from(split_arrows(text)).ok()?;
    let colon = goal.start + text.get(goal.clone())?.rfind(':').filter(|at| *at > 0)?;
    let (target, port) = (goal.start..colon, colon + 1..goal.end);
    let part = |part: Range<usize>| {
        let value = text.get(part.clone())?.to_owned();
        let (span, form) = match form {
            Form::Literal => {
                (tunnel.span.start + 1 + part.start..tunnel.span.start + 1 + part.end, Form::Piece)
            }
            Form::Escaped | Form::Piece | Form::Derived | Form::Variable => {
                (tunnel.span.clone(), Form::Derived)
            }
        };
        let node =
            Node { span: span.clone(), value: Value::Text(value, form), variables: tunnel.variables.clone() };
        Some(Member::new(span, node))
    };
    let mut long = Map::default();
    let members =
        [("listen", as_number(part(listen)?)), ("target", part(target)?), ("port", as_number(part(port)?))];
    for (order, (key, member)) in members.into_iter().enumerate() {
        long.insert(key, Member { order, ..member });
    }
    let whole = matches!(long.get("port")?.value.value, Value::Number { .. });
    whole.then_some(long)
}

/// What is made of digits is a number, as it would be in the long form.
fn as_number(mut member: Member) -> Member {
    if let Value::Text(digits, _) = &member.value.value
        && digits.bytes().all(|b| b.is_ascii_digit())
        && digits.parse::<i64>().is_ok()
    {
        let number = Value::Number { digits: digits.clone(), radix: 10 };
        member.value.value = number;
    }
    member
}
