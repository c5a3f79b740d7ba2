//! `model`: the reference model beside hubs, for as long as wanted. `mutants`: whether it finds bugs that are planted.

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.split_first() {
        Some((name, rest)) if name == "model" => forebay_testkit::model::command::run(rest),
        Some((name, rest)) if name == "mutants" => forebay_testkit::mutants::run(rest),
        _ => Err("one of: model, mutants".into()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(2)
        }
    }
}
