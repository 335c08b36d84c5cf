//! Columns and units of every file that pinbench writes or offers, for people. The tests compare names, types and units with
//! those of the schema and the types.

/// In Markdown: what `pinbench help columns` prints.
pub const TEXT: &str = include_str!("../../docs/columns.md");

#[cfg(test)]
mod tests {
    use polars::prelude::DataType;

    use super::*;
    use crate::experiment::trace::keys;
    use crate::record::RunRecord;
    use crate::record::schema::{self, Column};
    use crate::report::index::CLAIMS_HEADER;
    use crate::report::trace::OPERATORS_HEADER;
    use crate::report::values::{COLUMNS, RESULTS_HEADER, VALUES_HEADER};

    /// The rows of the first table after this start of a line, as they stand but for the first column's quotes.
    fn rows(after: &str) -> Vec<Vec<&'static str>> {
        let (_, rest) = TEXT.split_once(&format!("\n{after}")).unwrap_or_else(|| panic!("{after}"));
        let lines = rest.lines().skip_while(|line| !line.starts_with("| --- ")).skip(1);
        let row = |line: &'static str| {
            let cells = line.strip_prefix("| `")?.strip_suffix(" |")?;
            let (name, cells) = cells.split_once("` | ")?;
            Some(std::iter::once(name).chain(cells.split(" | ")).collect())
        };
        lines.map_while(row).collect()
    }

    fn names(after: &str) -> Vec<&'static str> {
        let rows = rows(after);
        assert!(rows.iter().all(|row| !row.last().unwrap().is_empty()), "{after}");
        rows.into_iter().map(|row| row[0]).collect()
    }

    /// In the words of whoever reads the file.
    fn kind(dtype: &DataType) -> &'static str {
        match dtype {
            DataType::UInt32 => "whole number, 32 bits",
            DataType::UInt64 => "whole number, 64 bits",
            DataType::Float64 => "float, 64 bits",
            _ => "text",
        }
    }

    #[test]
    fn every_column_of_a_run_is_described_with_its_type_and_unit() {
        let frames: [(&str, &[Column]); 5] = [
            (schema::STEPS_FILE, &schema::STEPS),
            (schema::EPOCHS_FILE, &schema::EPOCHS),
            (schema::CONFUSION_FILE, &schema::CONFUSION),
            (schema::DIAGNOSTICS_FILE, &schema::DIAGNOSTICS),
            (schema::CHAIN_FILE, &schema::CHAIN),
        ];
        for (file, columns) in frames {
            let found = rows(&format!("### {file}\n"));
            let columns = columns.iter().map(|column| {
                let unit = if column.unit.is_empty() { "–" } else { column.unit };
                [column.name, kind(&column.dtype), unit]
            });
            assert_eq!(
                found.iter().map(|row| &row[..3]).collect::<Vec<_>>(),
                columns.collect::<Vec<_>>(),
                "{file}"
            );
            assert!(found.iter().all(|row| row.len() == 4 && !row[3].is_empty()), "{file}");
        }
    }

    /// The configs and plans of a record are described as one key each: `pinbench help experiment` has theirs.
    #[test]
    fn every_key_of_a_record_is_described() {
        let mut expected: Vec<String> = Vec::new();
        for key in keys::<RunRecord>("") {
            let elsewhere = ["trial.config", "plan"].into_iter();
            let outer = elsewhere.clone().find(|outer| key.name.starts_with(&format!("{outer}.")));
            let name = outer.map_or(key.name.clone(), str::to_owned);
            if !expected.contains(&name) {
                expected.push(name);
            }
        }
        assert_eq!(names("### run.json\n"), expected);
    }

    #[test]
    fn every_column_beside_a_page_is_described() {
        let split = |header: &'static str| header.split(',').collect::<Vec<_>>();
        assert_eq!(names("Each row of the tables of epochs"), ["arm", "seed", "run"]);
        assert_eq!(names("### claims.csv\n"), split(CLAIMS_HEADER));
        assert_eq!(names("### operators.csv\n"), split(OPERATORS_HEADER));
        assert_eq!(names("### values.csv\n"), split(VALUES_HEADER));
        let results = rows("### results.csv, results.json\n");
        assert_eq!(results, COLUMNS.map(|(name, about)| vec![name, about]));
        assert_eq!(results.iter().map(|row| row[0]).collect::<Vec<_>>(), split(RESULTS_HEADER));
    }
}
