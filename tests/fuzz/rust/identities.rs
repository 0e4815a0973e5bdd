//! The files of an identity directory, and certificates, as whoever can replace a file would have
//! them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use pangea_identity::{Identity, Name, Role};
use pangea_identity_fixtures::Authority;
use rustls::pki_types::CertificateDer;

const FILES: [(&str, &str); 4] = [
    ("authority.pem", "CERTIFICATE"),
    ("certificate.pem", "CERTIFICATE"),
    ("key.pem", "PRIVATE KEY"),
    ("revoked.pem", "X509 CRL"),
];

/// In the choice of a file: PEM is made of the content.
const ENCODED: u8 = 0x80;

/// A directory in which one file is replaced, and the rest is valid.
struct Directory {
    path: PathBuf,
    valid: Vec<Option<Vec<u8>>>,
}

fn directory() -> &'static Directory {
    static DIRECTORY: OnceLock<Directory> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("fuzz-identity-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a writable folder");
        let authority = Authority::default();
        authority.issue(&path, "pangea://r/worker/w", 7);
        authority.revoke(&path, 8);
        let valid = FILES.map(|(name, _)| fs::read(path.join(name)).ok());
        Directory {
            path,
            valid: valid.to_vec(),
        }
    })
}

/// The first byte chooses a file, the rest is what is in it.
pub fn identity(input: &[u8]) -> String {
    let Some((choice, content)) = input.split_first() else {
        return String::new();
    };
    let directory = directory();
    let index = usize::from(choice & !ENCODED) % FILES.len();
    let (name, kind) = FILES[index];
    let path = directory.path.join(name);
    let content = match choice & ENCODED {
        0 => content.to_vec(),
        _ => pem(kind, content).into_bytes(),
    };
    fs::write(&path, content).expect("a writable folder");
    let outcome = read(&directory.path);
    match &directory.valid[index] {
        Some(valid) => fs::write(&path, valid).expect("a writable folder"),
        None => fs::remove_file(&path).expect("it was written"),
    }
    outcome
}

fn read(path: &Path) -> String {
    let identity = match Identity::load(path, Role::Worker) {
        Ok(identity) => identity,
        Err(error) => return error.to_string(),
    };
    let holder = identity.recognize(&identity.chain()[0]);
    assert_eq!(holder.as_ref(), Ok(identity.name()));
    format!("{} of {}", identity.name(), identity.chain().len())
}

/// A certificate of another one. Its name has one form.
pub fn certificate(input: &[u8]) -> String {
    match Name::of(&CertificateDer::from(input.to_vec())) {
        Ok(name) => {
            let text = name.to_string();
            assert!(input
                .windows(text.len())
                .any(|part| part == text.as_bytes()));
            name.role.to_string()
        }
        Err(error) => error,
    }
}

fn pem(kind: &str, content: &[u8]) -> String {
    let digits: Vec<char> = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .chain(['+', '/'])
        .collect();
    let mut text = format!("-----BEGIN {kind}-----\n");
    for (number, bytes) in content.chunks(3).enumerate() {
        let word = bytes
            .iter()
            .chain(&[0, 0])
            .take(3)
            .fold(0, |word, byte| (word << 8) | u32::from(*byte));
        for place in 0..4 {
            let digit = digits[(word >> (18 - 6 * place)) as usize & 63];
            text.push(if place > bytes.len() { '=' } else { digit });
        }
        if number % 16 == 15 {
            text.push('\n');
        }
    }
    text + &format!("\n-----END {kind}-----\n")
}
