//! Explains a dataset spec to other programs, so that none of them has to know its grammar.

use std::path::Path;

use anyhow::{Context, Result};
use rust_compute_sources::Spec;

/// One line of JSON: `spec` is the spec with an absolute path and all options, `file` is the path
/// in it, or null for a dataset that comes with Pangea. The file must exist, but is not read.
pub fn describe(spec: &str) -> Result<String> {
    let spec = Spec::parse(spec, Path::new(""))?;
    let file = match spec.users_file()? {
        None => None,
        Some(file) => Some(
            file.to_str()
                .with_context(|| format!("{} is not UTF-8; rename it", file.display()))?,
        ),
    };
    Ok(serde_json::json!({"spec": spec.to_string(), "file": file}).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_file_is_described_with_its_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.txt");
        std::fs::write(&file, "text").expect("written");
        let file = file.to_str().expect("UTF-8");
        let found = describe(&format!("text:{file},context=7")).expect("valid");
        let found: serde_json::Value = serde_json::from_str(&found).expect("JSON");
        let spec = format!("text:{file},context=7,held_out=0.1");
        assert_eq!(found, serde_json::json!({"spec": spec, "file": file}));
    }

    #[test]
    fn a_shipped_dataset_is_its_name() {
        let found = describe("digits").expect("valid");
        assert_eq!(found, r#"{"file":null,"spec":"digits"}"#);
    }

    #[test]
    fn a_spec_that_names_nothing_is_refused() {
        let error = describe("faces").expect_err("refused").to_string();
        assert!(error.contains("there is no such dataset"), "{error}");
        let error = describe("text:/gone.txt").expect_err("refused").to_string();
        assert!(error.contains("there is no file /gone.txt"), "{error}");
    }
}
