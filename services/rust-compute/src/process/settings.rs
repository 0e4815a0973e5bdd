//! The command line.

use std::path::{Path, PathBuf};

use anyhow::{bail, Result};
use clap::{ArgGroup, Parser, ValueEnum};

use crate::dataset::Normalise;
use crate::sources::{Format, LabelColumn, Separator};

/// Serves training batches of one dataset over schemas/tensor.capnp.
#[derive(Clone, Debug, Parser)]
#[command(name = "rust-compute", after_help = "rust-compute health [ADDRESS] asks the service whose --http is ADDRESS (default 127.0.0.1:9091) whether it is alive.", group = ArgGroup::new("source").required(true))]
pub struct Settings {
    /// Address for workers, such as 127.0.0.1:9090, [::1]:9090 or :9090 (all addresses); port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:9090")]
    pub listen: String,
    /// Address of /healthz, /readyz and /metrics
    #[arg(long, default_value = "127.0.0.1:9091")]
    pub http: String,
    /// Name of the dataset, for people
    #[arg(long, allow_hyphen_values = true)]
    pub dataset_name: String,
    /// CSV file, also compressed with gzip; needs --feature-shape
    #[arg(
        long,
        group = "source",
        requires = "feature_shape",
        allow_hyphen_values = true
    )]
    csv: Option<PathBuf>,
    /// Which column of the CSV file holds the label: an integer of at least 0, or a text
    #[arg(long, value_enum, default_value_t = LabelColumn::Last, conflicts_with = "text")]
    label_column: LabelColumn,
    /// Shape of one sample of the CSV file, such as 1,8,8; the product is the number of feature columns
    #[arg(long, value_delimiter = ',', conflicts_with = "text")]
    feature_shape: Vec<u64>,
    /// Over what the features of the CSV file get mean 0 and deviation 1
    #[arg(long, value_enum, default_value_t = Normalise::Columns, conflicts_with = "text")]
    normalise: Normalise,
    /// Whether the first row of the CSV file holds the names of its columns; noticed by default
    #[arg(long, value_enum, conflicts_with = "text")]
    header: Option<YesNo>,
    /// What separates the columns of the CSV file; noticed by default
    #[arg(long, value_enum, conflicts_with = "text")]
    separator: Option<Separator>,
    /// Text file, also compressed with gzip, whose distinct bytes are the classes; needs --context
    #[arg(
        long,
        group = "source",
        requires = "context",
        allow_hyphen_values = true
    )]
    text: Option<PathBuf>,
    /// Characters of one sample of the text; the labels are the characters after each
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "csv")]
    context: Option<u64>,
    /// Share of the samples that is kept aside for evaluation
    #[arg(long, default_value_t = 0.0, value_parser = fraction)]
    pub held_out: f64,
    /// File that gets the addresses as JSON once the service is ready
    #[arg(long)]
    pub port_file: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// Most bytes of the data file, unpacked
    #[arg(long, env = "PANGEA_MAX_DATA_BYTES", default_value_t = 16 << 30)]
    pub max_data_bytes: u64,
    /// Memory that batches on their way and arriving frames may take
    #[arg(long, default_value_t = 1 << 30)]
    pub max_memory_bytes: usize,
    /// Most workers at a time
    #[arg(long, default_value_t = 1024)]
    pub max_connections: usize,
}

/// Where the samples come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'s> {
    Csv {
        file: &'s Path,
        format: Format,
        feature_shape: &'s [u64],
        normalise: Normalise,
    },
    Text {
        file: &'s Path,
        context: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum YesNo {
    Yes,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Json,
    Text,
}

impl Settings {
    /// The one source that the command line names, which clap has seen to.
    pub fn source(&self) -> Result<Source<'_>> {
        match (&self.csv, &self.text, self.context) {
            (Some(file), None, None) => Ok(Source::Csv {
                file,
                format: Format {
                    label_column: self.label_column,
                    separator: self.separator,
                    header: self.header.map(|said| said == YesNo::Yes),
                },
                feature_shape: &self.feature_shape,
                normalise: self.normalise,
            }),
            (None, Some(file), Some(context)) => Ok(Source::Text { file, context }),
            _ => bail!("give --csv with --feature-shape, or --text with --context"),
        }
    }
}

fn fraction(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|value| (0.0..1.0).contains(value))
        .ok_or_else(|| "it must be a number from 0 to below 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str) -> Result<Settings, clap::Error> {
        let words = format!("rust-compute --dataset-name d {arguments}");
        Settings::try_parse_from(words.split_whitespace())
    }

    #[test]
    fn a_shape_is_a_list() {
        let settings = parse("--csv f.csv --feature-shape 1,8,8 --held-out 0.2").expect("valid");
        let source = Source::Csv {
            file: Path::new("f.csv"),
            format: Format {
                label_column: LabelColumn::Last,
                separator: None,
                header: None,
            },
            feature_shape: &[1, 8, 8],
            normalise: Normalise::Columns,
        };
        assert_eq!(settings.source().expect("one"), source);
        assert_eq!(settings.held_out, 0.2);
        assert_eq!(settings.listen, "127.0.0.1:9090");
    }

    #[test]
    fn the_form_of_a_csv_file_may_be_said() {
        let said = "--csv -d.csv --feature-shape 4 --header yes --normalise all --separator";
        for separator in ["semicolon", ";"] {
            let settings = parse(&format!("{said} {separator}")).expect("valid");
            let source = Source::Csv {
                file: Path::new("-d.csv"),
                format: Format {
                    label_column: LabelColumn::Last,
                    separator: Some(Separator::Semicolon),
                    header: Some(true),
                },
                feature_shape: &[4],
                normalise: Normalise::All,
            };
            assert_eq!(settings.source().expect("one"), source);
        }
        let names = "rust-compute --dataset-name -d.csv --text t --context 4";
        let settings = Settings::try_parse_from(names.split_whitespace()).expect("valid");
        assert_eq!(settings.dataset_name, "-d.csv");
    }

    #[test]
    fn a_text_has_a_context() {
        let settings = parse("--text f.txt --context 64").expect("valid");
        let source = Source::Text {
            file: Path::new("f.txt"),
            context: 64,
        };
        assert_eq!(settings.source().expect("one"), source);
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (arguments, named) in [
            ("", "--csv"),
            ("", "--text"),
            ("--csv f", "--feature-shape"),
            ("--csv f --feature-shape 1,x", "--feature-shape"),
            ("--csv f --feature-shape 4 --held-out 1", "--held-out"),
            ("--csv f --feature-shape 4 --held-out NaN", "--held-out"),
            (
                "--csv f --feature-shape 4 --label-column middle",
                "--label-column",
            ),
            ("--csv f --feature-shape 4 --header maybe", "--header"),
            ("--csv f --feature-shape 4 --normalise x", "--normalise"),
            ("--csv f --feature-shape 4 --separator x", "--separator"),
            ("--text f", "--context"),
            ("--text f --context 0", "--context"),
            ("--text f --context x", "--context"),
            (
                "--text f --context 4 --csv f --feature-shape 4",
                "cannot be used with",
            ),
            (
                "--text f --context 4 --feature-shape 4",
                "cannot be used with",
            ),
            (
                "--text f --context 4 --label-column last",
                "cannot be used with",
            ),
            (
                "--text f --context 4 --normalise all",
                "cannot be used with",
            ),
            (
                "--csv f --feature-shape 4 --context 4",
                "cannot be used with",
            ),
        ] {
            let error = parse(arguments).expect_err("refused").to_string();
            assert!(error.contains(named), "{arguments}: {error}");
        }
    }
}
