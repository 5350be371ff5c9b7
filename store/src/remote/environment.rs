//! The environment variables that hold credentials.

use std::collections::BTreeMap;
use std::fmt;

/// A source of variables such as `AWS_SECRET_ACCESS_KEY`. Debug output omits their values.
#[derive(Clone, Default)]
pub enum Environment {
    /// The process environment.
    #[default]
    Process,
    /// These variables instead, for a program that holds credentials of several services.
    Given(BTreeMap<String, String>),
}

impl Environment {
    /// Returns the variables whose names start with one of `prefixes`.
    pub(crate) fn variables(&self, prefixes: &[&str]) -> Vec<(String, String)> {
        let wanted = |(name, _): &(String, String)| prefixes.iter().any(|prefix| name.starts_with(prefix));
        match self {
            Self::Process => {
                let readable = std::env::vars_os()
                    .filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
                readable.filter(wanted).collect()
            }
            Self::Given(variables) => {
                variables.iter().map(|(name, value)| (name.clone(), value.clone())).filter(wanted).collect()
            }
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process => formatter.write_str("Process"),
            Self::Given(variables) => formatter.debug_set().entries(variables.keys()).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_shown() {
        let variable = ("AWS_SECRET_ACCESS_KEY".to_owned(), "hunter2".to_owned());
        let given = Environment::Given([variable.clone()].into());
        assert_eq!(format!("{given:?}"), "{\"AWS_SECRET_ACCESS_KEY\"}");
        assert_eq!(given.variables(&["AWS_"]), [variable]);
        assert!(given.variables(&["AZURE_"]).is_empty());
    }
}
