//! `bastion explain`: a stable code in full, or all of them.

use clap::Args;
use serde_json::{Map, Value, json};

use super::{ExitStatus, Failure, Format, nearest};
use crate::ui::{self, Explanation, Printer};

/// Explain a code that stands in brackets behind a message: cause, remedy, who can mend it
///
/// Without a code, lists all of them. The same codes stand in text, JSON and logs, and stay the same from version to
/// version. `--format json` prints the explanation for programs.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The code, as in `gateway-busy`
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

pub(super) fn run(arguments: &Arguments, format: Format, printer: Printer) -> Result<ExitStatus, Failure> {
    let one = arguments.code.as_deref().map(find).transpose()?;
    let text = match (one, format) {
        (Some(one), Format::Text) => ui::explained(one, ui::terminal_width()),
        (None, Format::Text) => ui::codes(ui::terminal_width()),
        (Some(one), Format::Json) => whole(object(one)).to_string(),
        (None, Format::Json) => {
            let all: Vec<Value> = ui::explanations().map(object).collect();
            whole(json!({ "codes": all })).to_string()
        }
    };
    // Whoever stops reading has read enough.
    printer.data(text.trim_end());
    Ok(ExitStatus::Done)
}

/// The code as it may have been copied: with its brackets.
fn find(typed: &str) -> Result<&'static Explanation, Failure> {
    let code = typed.trim().trim_start_matches('[').trim_end_matches(']');
    ui::explanation(code).ok_or_else(|| {
        let what = format!("there is no code `{}`", typed.escape_debug());
        let known = ui::explanations().map(|explanation| explanation.code);
        let hint = match nearest(code, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`bastion explain` lists all codes".to_owned(),
        };
        Failure::new(ExitStatus::Usage, what).hint(&hint)
    })
}

fn object(explanation: &Explanation) -> Value {
    let Explanation { code, tried, happened, cause, remedy, who } = explanation;
    json!({
        "code": code,
        "tried": tried,
        "happened": happened,
        "cause": cause,
        "remedy": remedy,
        "who": who,
    })
}

/// With the version of this form in front.
fn whole(value: Value) -> Value {
    let mut all = Map::from_iter([("version".to_owned(), json!(1))]);
    if let Value::Object(fields) = value {
        all.extend(fields);
    }
    Value::Object(all)
}
