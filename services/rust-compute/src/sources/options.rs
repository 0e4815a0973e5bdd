//! The options of a dataset spec, `,name=value` each: split from the path, then taken one by one by
//! the format.

use thiserror::Error;

/// What is wrong with the options of a spec.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum OptionError {
    #[error("{name} is given twice")]
    Twice { name: String },
    #[error("{kind} has no option {name}, only {known}")]
    Unknown {
        kind: &'static str,
        name: String,
        known: String,
    },
    #[error("{name} is missing: {expected}")]
    Missing {
        name: &'static str,
        expected: &'static str,
    },
    #[error("{name} is {value:?}; it must be {expected}")]
    Invalid {
        name: &'static str,
        value: String,
        expected: String,
    },
}

/// The options that have not been taken yet.
#[derive(Debug)]
pub struct Options<'t> {
    given: Vec<(&'t str, &'t str)>,
    /// Every name that was asked for: the options that the format has.
    known: Vec<&'static str>,
}

impl<'t> Options<'t> {
    /// Splits `PATH,name=value,...`. Options are read from the end and have no slash, so a folder
    /// may have any name, and a file name may contain commas.
    pub fn split(text: &'t str) -> Result<(&'t str, Self), OptionError> {
        let mut path = text;
        let mut given = Vec::new();
        while let Some((before, name, value)) = last_option(path) {
            if given.iter().any(|(other, _)| *other == name) {
                return Err(OptionError::Twice {
                    name: name.to_owned(),
                });
            }
            given.push((name, value));
            path = before;
        }
        let known = Vec::new();
        Ok((path, Self { given, known }))
    }

    /// The value of an option, if it is given.
    pub fn take(&mut self, name: &'static str) -> Option<&'t str> {
        self.known.push(name);
        let at = self.given.iter().position(|(given, _)| *given == name)?;
        Some(self.given.remove(at).1)
    }

    /// An option whose value must satisfy `read`; `expected` describes such values.
    pub fn take_with<T>(
        &mut self,
        name: &'static str,
        expected: impl Into<String>,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, OptionError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match read(value) {
            Some(read) => Ok(Some(read)),
            None => Err(OptionError::Invalid {
                name,
                value: value.to_owned(),
                expected: expected.into(),
            }),
        }
    }

    /// An option with a fixed set of values.
    pub fn take_choice<C: Choice>(&mut self, name: &'static str) -> Result<Option<C>, OptionError> {
        let names: Vec<&str> = C::VALUES.iter().map(|(name, _)| *name).collect();
        let expected = match names.split_last() {
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        };
        self.take_with(name, expected, |value| {
            let found = C::VALUES.iter().find(|(name, _)| *name == value);
            found.map(|(_, choice)| *choice)
        })
    }

    /// Fails if there are options that nobody took.
    pub fn finish(self, kind: &'static str) -> Result<(), OptionError> {
        // The leftmost one in the spec.
        match self.given.last() {
            None => Ok(()),
            Some((name, _)) => Err(OptionError::Unknown {
                kind,
                name: (*name).to_owned(),
                known: self.known.join(", "),
            }),
        }
    }
}

/// `,name=value` at the end of the text, and what is before it.
fn last_option(text: &str) -> Option<(&str, &str, &str)> {
    let (before, option) = text.rsplit_once(',')?;
    let (name, value) = option.split_once('=')?;
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        !name.is_empty() && bytes.all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    (is_name(name) && !value.contains(['=', '/'])).then_some((before, name, value))
}

/// An integer that is written with digits only: no sign, no blank.
pub fn integer(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// A type whose values have names in a spec.
pub trait Choice: Copy + PartialEq + 'static {
    const VALUES: &'static [(&'static str, Self)];

    fn name(self) -> &'static str {
        let found = Self::VALUES.iter().find(|(_, value)| *value == self);
        found.map_or("", |(name, _)| name)
    }
}

impl Choice for bool {
    const VALUES: &'static [(&'static str, Self)] = &[("yes", true), ("no", false)];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_from_the_end() {
        for (text, path, given) in [
            ("a.csv", "a.csv", &[][..]),
            ("a.csv,shape=2", "a.csv", &[("shape", "2")]),
            (
                "odd,name=1,2,context=3",
                "odd,name=1,2",
                &[("context", "3")],
            ),
            ("a=b,c=d=e", "a=b,c=d=e", &[]),
            ("/d,x=1/a,x=2", "/d,x=1/a", &[("x", "2")]),
            ("a,B=1", "a,B=1", &[]),
            ("a,=1,x=", "a,=1", &[("x", "")]),
            (",context=3", "", &[("context", "3")]),
        ] {
            let (found, options) = Options::split(text).expect("valid");
            assert_eq!((found, &options.given[..]), (path, given), "{text}");
        }
        let twice = Options::split("a,x=1,y=2,x=1").expect_err("refused");
        assert_eq!(twice.to_string(), "x is given twice");
    }

    #[test]
    fn an_option_that_nobody_takes_is_refused() {
        let (_, mut options) = Options::split("a,x=1,y=2,z=3").expect("valid");
        assert_eq!(options.take("y"), Some("2"));
        assert_eq!(options.take("w"), None);
        let error = options.finish("csv").expect_err("refused");
        assert_eq!(error.to_string(), "csv has no option x, only y, w");
    }

    #[test]
    fn a_choice_lists_its_values() {
        let (_, mut options) = Options::split("a,header=2").expect("valid");
        let error = options.take_choice::<bool>("header").expect_err("refused");
        assert_eq!(error.to_string(), "header is \"2\"; it must be yes or no");
        assert_eq!((true.name(), false.name()), ("yes", "no"));
    }

    #[test]
    fn an_integer_has_digits_only() {
        assert_eq!(integer("007"), Some(7));
        for wrong in ["", "+7", "-7", "7 ", "1_0", "99999999999999999999"] {
            assert_eq!(integer(wrong), None, "{wrong}");
        }
    }
}
