//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use pangea_wire::schema::MAX_FRAME_BYTES;

const COMMANDS: &str = "\
rust-compute health [ADDRESS]  asks the service whose --http is ADDRESS (default 127.0.0.1:9091) whether it is alive
rust-compute describe SPEC     prints a dataset spec with all its options as JSON, or what is wrong with it";

/// Serves training batches of one dataset over schemas/tensor.capnp.
#[derive(Clone, Debug, Parser)]
#[command(name = "rust-compute", version = env!("PANGEA_RELEASE"), after_help = COMMANDS)]
pub struct Settings {
    /// The dataset, such as digits or csv:/data/points.csv,shape=2; docs/how-to/data.md lists all
    /// formats and their options
    #[arg(long, value_name = "SPEC", allow_hyphen_values = true)]
    pub dataset: String,
    /// Folder of the datasets that come with Pangea
    #[arg(
        long,
        value_name = "DIR",
        env = "PANGEA_DATA_DIR",
        default_value = "/usr/share/pangea"
    )]
    pub data_dir: PathBuf,
    /// Address for workers, such as 127.0.0.1:9090, [::1]:9090 or :9090 (all interfaces); port 0
    /// takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    pub listen: String,
    /// Path of a Unix socket for workers of this user on this machine, which read batches from
    /// shared memory
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Address of /healthz, /readyz and /metrics
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9091")]
    pub http: String,
    /// Directory with this process's certificate, its key and the run's authority (pangea certs),
    /// for connections over TLS
    #[arg(long, value_name = "DIR", env = "PANGEA_IDENTITY")]
    pub identity: Option<PathBuf>,
    /// Without an identity, let everybody in who reaches a port, without encryption
    #[arg(long, env = "PANGEA_INSECURE", value_parser = switch)]
    pub insecure: bool,
    /// File that gets the addresses as JSON once the service is ready
    #[arg(long, value_name = "FILE")]
    pub port_file: Option<PathBuf>,
    /// Form of the log on stderr; RUST_LOG selects its level
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// Most bytes of the data file, decompressed
    #[arg(
        long,
        value_name = "BYTES",
        env = "PANGEA_MAX_DATA_BYTES",
        default_value_t = 16 << 30,
        value_parser = clap::value_parser!(u64).range(1..=1 << 50)
    )]
    pub max_data_bytes: u64,
    /// Most memory of frames that arrive, and of batches that are sent or lent
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30, value_parser = memory)]
    pub max_memory_bytes: usize,
    /// Most connections of workers at a time; for a further one, an idle one is closed
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = connections)]
    pub max_connections: usize,
    /// Most connections of one address
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = connections)]
    pub max_connections_per_address: usize,
}

/// Less has no room for two of the largest batches.
const LEAST_MEMORY: usize = 4 * MAX_FRAME_BYTES as usize;
const MOST_MEMORY: usize = 1 << 46;
/// Beyond this, a system has no descriptors.
const MOST_CONNECTIONS: usize = 1 << 20;

/// A switch as a variable. The flag itself is "true".
fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err("it must be 1 or 0".to_owned()),
    }
}

fn memory(text: &str) -> Result<usize, String> {
    within(text, LEAST_MEMORY, MOST_MEMORY)
}

fn connections(text: &str) -> Result<usize, String> {
    within(text, 1, MOST_CONNECTIONS)
}

fn within(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let number = text.parse().ok();
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("it must be a number from {least} to {most}"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Json,
    Text,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Settings, clap::Error> {
        Settings::try_parse_from([&["rust-compute"], arguments].concat())
    }

    #[test]
    fn only_the_dataset_is_required() {
        let settings = parse(&["--dataset", "csv:-d.csv,shape=4"]).expect("valid");
        assert_eq!(settings.dataset, "csv:-d.csv,shape=4");
        assert_eq!(settings.listen, "127.0.0.1:9090");
        assert_eq!(settings.http, "127.0.0.1:9091");
        let error = parse(&[]).expect_err("refused").to_string();
        assert!(error.contains("--dataset <SPEC>"), "{error}");
        // It is refused as a spec, with its grammar, and not as an unknown option.
        let hyphen = parse(&["--dataset", "-d.csv"]).expect("valid");
        assert_eq!(hyphen.dataset, "-d.csv");
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (option, value) in [
            ("--max-data-bytes", "many"),
            ("--max-data-bytes", "0"),
            ("--max-connections", "few"),
            ("--max-connections", "0"),
            ("--max-connections", "9223372036854775808"),
            ("--max-connections-per-address", "0"),
            ("--max-memory-bytes", "0"),
            ("--max-memory-bytes", "18446744073709551615"),
            ("--log-format", "xml"),
            ("--csv", "d.csv"),
        ] {
            let error = parse(&["--dataset", "digits", option, value]).expect_err("refused");
            assert!(error.to_string().contains(option), "{error}");
        }
    }

    #[test]
    fn a_switch_is_on_or_off() {
        assert!(
            parse(&["--dataset", "digits", "--insecure"])
                .expect("valid")
                .insecure
        );
        assert!(!parse(&["--dataset", "digits"]).expect("valid").insecure);
        assert_eq!((switch("1"), switch("0")), (Ok(true), Ok(false)));
        assert!(switch("perhaps").is_err());
    }

    #[test]
    fn the_release_is_that_of_the_module() {
        let error = parse(&["--version"]).expect_err("printed").to_string();
        let release = error.trim_end().strip_prefix("rust-compute ");
        assert_eq!(release, Some(env!("PANGEA_RELEASE")), "{error}");
    }
}
