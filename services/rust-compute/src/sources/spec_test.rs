use rust_compute_storage::Storage;

use super::*;
use crate::open;

fn parse(text: &str) -> Result<Spec, SpecError> {
    Spec::parse(text, Path::new("/shipped"))
}

fn full(text: &str) -> String {
    parse(text).expect("valid").to_string()
}

#[test]
fn a_shipped_dataset_has_a_name_and_a_file_in_the_data_folder() {
    for (name, file, held_out) in [
        ("digits", "/shipped/digits.csv.gz", 0.2),
        ("stdlib", "/shipped/stdlib.txt.gz", 0.1),
    ] {
        let spec = parse(name).expect("valid");
        assert_eq!((spec.name(), spec.to_string()), (name.into(), name.into()));
        assert_eq!((spec.file(), spec.held_out()), (Path::new(file), held_out));
        assert_eq!(spec.users_file().expect("not looked at"), None);
    }
    let digits = parse("digits").expect("valid");
    let values = digits.reader().options();
    assert!(values.contains(&("shape", "1x8x8".to_owned())));
    assert!(values.contains(&("normalise", "all".to_owned())));
}

#[test]
fn a_shipped_dataset_that_is_not_installed_names_the_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = Spec::parse("digits", folder.path()).expect("valid");
    let error = open(&spec, &Storage { max_bytes: 9 }).expect_err("refused");
    let error = error.to_string();
    assert!(
        error.contains("digits.csv.gz is missing: it comes with Pangea"),
        "{error}"
    );
}

#[test]
fn the_text_form_has_all_options() {
    for (text, expected) in [
        (
            "csv:/d/a.csv,shape=2",
            "csv:/d/a.csv,shape=2,label=last,normalise=columns,held_out=0.2",
        ),
        (
            "csv:/d/a.csv,held_out=0,label=first,shape=1x2",
            "csv:/d/a.csv,shape=1x2,label=first,normalise=columns,held_out=0.0",
        ),
        (
            "csv:/d/a.csv,shape=2,normalise=none,header=yes,separator=semicolon",
            "csv:/d/a.csv,shape=2,label=last,normalise=none,header=yes,separator=semicolon,held_out=0.2",
        ),
        ("text:/d/b.txt", "text:/d/b.txt,context=64,held_out=0.1"),
        (
            "text:/d/b.txt,context=7,held_out=0.25",
            "text:/d/b.txt,context=7,held_out=0.25",
        ),
        (
            "text:/d/odd,name=1,2,context=3",
            "text:/d/odd,name=1,2,context=3,held_out=0.1",
        ),
    ] {
        assert_eq!(full(text), expected);
        assert_eq!(full(expected), expected, "it names the same dataset again");
    }
}

#[test]
fn a_path_is_relative_to_the_current_folder() {
    let here = std::env::current_dir().expect("a folder");
    for path in ["-d.csv", "./-d.csv"] {
        let spec = parse(&format!("csv:{path},shape=2")).expect("valid");
        assert_eq!(spec.file(), here.join("-d.csv"));
        assert_eq!(spec.name(), "-d.csv");
    }
}

#[test]
fn a_users_file_must_exist() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.txt");
    std::fs::write(&file, "text").expect("written");
    let spec = parse(&format!("text:{}", file.display())).expect("valid");
    assert_eq!(spec.users_file().expect("exists"), Some(&*file));
    std::fs::remove_file(&file).expect("removed");
    let error = spec.users_file().expect_err("refused").to_string();
    let reason = format!("there is no file {}; ", file.display());
    assert!(error.contains(&reason), "{error}");
}

#[test]
fn a_wrong_spec_is_refused_with_the_reason_and_the_grammar() {
    for (text, reason) in [
        ("", "there is no such dataset"),
        ("digit", "there is no such dataset"),
        ("digits,held_out=0.1", "there is no such dataset"),
        ("a.csv", "there is no such dataset"),
        ("csv", "there is no such dataset"),
        ("parquet:a", "there is no such dataset"),
        ("csv:", "the path is missing"),
        ("text:,context=3", "the path is missing"),
        ("csv:a.csv", "shape is missing"),
        ("csv:a.csv,shape=", "shape is \"\""),
        ("csv:a.csv,shape=1x-8", "shape is \"1x-8\""),
        ("csv:a.csv,shape=0", "shape is \"0\""),
        ("csv:a.csv,shape=1024x1025", "shape is \"1024x1025\""),
        ("csv:a.csv,shape=1x1x1x1x1x1x1x1x1", "shape is"),
        (
            "csv:a.csv,shape=2,label=middle",
            "label is \"middle\"; it must be first or last",
        ),
        (
            "csv:a.csv,shape=2,normalise=rows",
            "normalise is \"rows\"; it must be columns, all or none",
        ),
        (
            "csv:a.csv,shape=2,header=2",
            "header is \"2\"; it must be yes or no",
        ),
        (
            "csv:a.csv,shape=2,separator=;",
            "separator is \";\"; it must be tab, semicolon, pipe, comma or space",
        ),
        ("csv:a.csv,shape=2,shape=3", "shape is given twice"),
        (
            "csv:a.csv,shape=2,context=3",
            "csv has no option context, only shape, label, normalise, header, separator, held_out",
        ),
        (
            "text:b.txt,label=first",
            "text has no option label, only context, held_out",
        ),
        (
            "text:b.txt,context=0",
            "context is \"0\"; it must be an integer from 1 to 1048576",
        ),
        ("text:b.txt,context=1048577", "context is"),
        ("text:b.txt,context=9999999999999999999999", "context is"),
        (
            "text:b.txt,held_out=1",
            "held_out is \"1\"; it must be a number from 0 to below 1",
        ),
        ("text:b.txt,held_out=nan", "held_out is \"nan\""),
        ("text:b.txt,held_out=many", "held_out is \"many\""),
    ] {
        let error = parse(text).expect_err("refused").to_string();
        assert!(error.starts_with(&format!("{text:?}: ")), "{error}");
        assert!(error.contains(reason), "{error}");
        let kind = text.split(':').next().expect("at least one part");
        let known = FORMATS.iter().any(|format| format.kind == kind);
        for format in &FORMATS {
            let shown = !known || format.kind == kind;
            assert_eq!(error.contains(format.grammar), shown, "{error}");
        }
    }
}

#[test]
fn the_grammar_shows_the_defaults() {
    for (shortest, kind) in [("csv:/a,shape=1x8x8", "csv"), ("text:/a", "text")] {
        let format = FORMATS.iter().find(|format| format.kind == kind);
        let grammar = format.expect("known").grammar;
        for option in full(shortest).split(',').skip(1) {
            let shown = grammar.contains(&format!(",{option}"));
            assert!(shown, "{option} is not in {grammar}");
        }
    }
}

/// What is written down for a run has to be readable by every later release.
#[test]
fn specs_of_earlier_releases_are_read() {
    for written in [
        "csv:/a.csv,shape=1x8x8,label=last,normalise=all,held_out=0.2",
        "csv:/a.csv,shape=2,label=first,normalise=columns,header=no,separator=tab,held_out=0.0",
        "text:/b.txt,context=64,held_out=0.1",
        "text:/b.txt,context=64,held_out=1e-05",
    ] {
        assert_eq!(full(&full(written)), full(written));
    }
    assert_eq!(
        parse("text:/b.txt,held_out=1e-05")
            .expect("valid")
            .held_out(),
        1e-5
    );
}
