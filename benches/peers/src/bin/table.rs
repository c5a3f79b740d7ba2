//! The tables of `benches/README.md`, from what criterion left in a folder: `table FOLDER`.
//!
//! A row of a table is a size, a column a library: the median over the rounds of each round's median, in nanoseconds, and
//! the ratio of ours to the best of the others, which is taken within each round.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use serde_json::Value;

const OURS: &str = "forebay";

/// Of each library in a row, the medians of the rounds, by the round's name.
type Row = BTreeMap<String, BTreeMap<String, f64>>;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: table FOLDER")?;
    // By what is done and to what, by size.
    let mut tables: BTreeMap<String, BTreeMap<usize, Row>> = BTreeMap::new();
    collect(Path::new(&folder), &mut tables)?;
    for (name, rows) in &tables {
        print_table(name, rows);
    }
    Ok(())
}

/// Looks for criterion's results in a folder and in those in it.
fn collect(folder: &Path, tables: &mut BTreeMap<String, BTreeMap<usize, Row>>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        let (benchmark, estimates) = (path.join("benchmark.json"), path.join("estimates.json"));
        if !benchmark.is_file() || !estimates.is_file() {
            collect(&path, tables)?;
            continue;
        }
        let benchmark: Value = serde_json::from_slice(&fs::read(benchmark)?)?;
        let estimates: Value = serde_json::from_slice(&fs::read(estimates)?)?;
        let group = benchmark["group_id"].as_str().ok_or("a benchmark without a group")?;
        let library = benchmark["function_id"].as_str().ok_or("a benchmark without a name")?;
        let median = estimates["median"]["point_estimate"].as_f64().ok_or("an estimate without a median")?;
        let (table, size) = group.rsplit_once('/').ok_or("a group without a size")?;
        let round = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let row = tables.entry(table.to_owned()).or_default().entry(size.parse()?).or_default();
        row.entry(library.to_owned()).or_default().insert(round, median);
    }
    Ok(())
}

fn print_table(name: &str, rows: &BTreeMap<usize, Row>) {
    let mut libraries: Vec<&String> = rows.values().flat_map(BTreeMap::keys).collect();
    libraries.sort_by_key(|library| (*library != OURS, is_yardstick(library), *library));
    libraries.dedup();
    println!(
        "\n| {name} | {} | ours / best other |",
        libraries.iter().map(|library| library.as_str()).collect::<Vec<_>>().join(" | ")
    );
    println!("|---|{}---|", "---|".repeat(libraries.len()));
    for (size, row) in rows {
        let cells = libraries
            .iter()
            .map(|library| row.get(*library).map_or_else(|| "–".into(), |rounds| nanoseconds(middle(rounds.values()))));
        println!("| {} | {} | {} |", size_name(*size), cells.collect::<Vec<_>>().join(" | "), ratio(row));
    }
}

/// Not a library but something to measure them by.
fn is_yardstick(library: &str) -> bool {
    library.starts_with('(')
}

/// Ours to the best other of the row, the median of the rounds' ratios, between the extremes.
fn ratio(row: &Row) -> String {
    let others = row.iter().filter(|(library, _)| *library != OURS && !is_yardstick(library));
    let best = others.min_by(|(_, a), (_, b)| middle(a.values()).total_cmp(&middle(b.values())));
    let (Some((name, best)), Some(ours)) = (best, row.get(OURS)) else {
        return "–".into();
    };
    let ratios: Vec<f64> = ours.iter().filter_map(|(round, ours)| Some(ours / best.get(round)?)).collect();
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    let short = name.split_whitespace().next().unwrap_or(name);
    format!("**{:.2}** ({least:.2}–{most:.2}) {short}", middle(ratios.iter()))
}

fn middle<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    let mut values: Vec<f64> = values.copied().collect();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) }
}

fn nanoseconds(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

fn size_name(size: usize) -> String {
    match size {
        0..=1 => "1".into(),
        size if size.is_multiple_of(1 << 20) => format!("{} MiB", size >> 20),
        size if size.is_multiple_of(1 << 10) => format!("{} KiB", size >> 10),
        size => format!("{size} B"),
    }
}
