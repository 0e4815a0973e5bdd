//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Serves training batches of one dataset over schemas/tensor.capnp.
#[derive(Clone, Debug, Parser)]
#[command(name = "rust-compute")]
pub struct Settings {
    /// Address for workers; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:9090")]
    pub listen: String,
    /// Address of /healthz, /readyz and /metrics
    #[arg(long, default_value = "127.0.0.1:9091")]
    pub http: String,
    /// Name of the dataset, for people
    #[arg(long)]
    pub dataset_name: String,
    /// CSV file without a header, also compressed (.gz)
    #[arg(long)]
    pub csv: PathBuf,
    /// Which column holds the label, an integer of at least 0
    #[arg(long, value_enum, default_value_t = LabelColumn::Last)]
    pub label_column: LabelColumn,
    /// Shape of one sample, such as 1,8,8; the product is the number of feature columns
    #[arg(long, value_delimiter = ',', required = true)]
    pub feature_shape: Vec<u64>,
    /// Share of the samples that is kept aside for evaluation
    #[arg(long, default_value_t = 0.0, value_parser = fraction)]
    pub held_out: f64,
    /// File that gets the addresses as JSON once the service is ready
    #[arg(long)]
    pub port_file: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// Memory that batches on their way and arriving frames may take
    #[arg(long, default_value_t = 1 << 30)]
    pub max_memory_bytes: usize,
    /// Most workers at a time
    #[arg(long, default_value_t = 1024)]
    pub max_connections: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LabelColumn {
    First,
    Last,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Json,
    Text,
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
        let required = "rust-compute --dataset-name d --csv f.csv";
        Settings::try_parse_from(format!("{required} {arguments}").split_whitespace())
    }

    #[test]
    fn a_shape_is_a_list() {
        let settings = parse("--feature-shape 1,8,8 --held-out 0.2").expect("valid");
        assert_eq!(settings.feature_shape, [1, 8, 8]);
        assert_eq!(settings.held_out, 0.2);
        assert_eq!(settings.listen, "127.0.0.1:9090");
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (arguments, named) in [
            ("", "--feature-shape"),
            ("--feature-shape 1,x", "--feature-shape"),
            ("--feature-shape 4 --held-out 1", "--held-out"),
            ("--feature-shape 4 --held-out NaN", "--held-out"),
            ("--feature-shape 4 --label-column middle", "--label-column"),
        ] {
            let error = parse(arguments).expect_err("refused").to_string();
            assert!(error.contains(named), "{arguments}: {error}");
        }
    }
}
