//! Where the cache is.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
#[error(
    "no place for data sets: none of PINBENCH_DATA, XDG_CACHE_HOME (absolute) and HOME is set; set PINBENCH_DATA to a folder"
)]
pub struct NoRoot;

/// Beside the program, where a package brings its data sets along.
const PACKED: &str = "pinbench-data";

/// `$PINBENCH_DATA`, else the folder that a package has, else `$XDG_CACHE_HOME/pinbench/data`, else
/// `$HOME/.cache/pinbench/data`.
pub fn root() -> Result<PathBuf, NoRoot> {
    let packed = env::current_exe().ok().map(|program| program.with_file_name(PACKED));
    root_from(packed.filter(|packed| packed.is_dir()), |variable| env::var_os(variable))
}

fn root_from(
    packed: Option<PathBuf>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, NoRoot> {
    let path = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(chosen) = path("PINBENCH_DATA").or(packed) {
        return Ok(chosen);
    }
    // The XDG base directory specification wants relative paths ignored.
    let cache = path("XDG_CACHE_HOME").filter(|path| path.is_absolute());
    let cache = cache.or_else(|| path("HOME").map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("pinbench/data")).ok_or(NoRoot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_with(variables: &[(&str, &str)]) -> Option<String> {
        root_packed(None, variables)
    }

    fn root_packed(packed: Option<&str>, variables: &[(&str, &str)]) -> Option<String> {
        let value =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        root_from(packed.map(PathBuf::from), value).ok().map(|path| path.display().to_string())
    }

    #[test]
    fn the_users_own_choice_comes_first_then_xdg_then_home() {
        let all = [("PINBENCH_DATA", "mine"), ("XDG_CACHE_HOME", "/xdg"), ("HOME", "/home/me")];
        assert_eq!(root_with(&all).as_deref(), Some("mine"));
        assert_eq!(root_with(&all[1..]).as_deref(), Some("/xdg/pinbench/data"));
        assert_eq!(root_with(&all[2..]).as_deref(), Some("/home/me/.cache/pinbench/data"));
        assert_eq!(root_with(&[]), None);
    }

    #[test]
    fn what_a_package_brings_along_comes_before_the_cache() {
        let all = [("PINBENCH_DATA", "mine"), ("HOME", "/home/me")];
        let packed = Some("/opt/pinbench/pinbench-data");
        assert_eq!(root_packed(packed, &all).as_deref(), Some("mine"));
        assert_eq!(root_packed(packed, &all[1..]).as_deref(), packed);
        assert_eq!(root_packed(packed, &[]).as_deref(), packed);
    }

    #[test]
    fn empty_and_relative_settings_are_passed_over() {
        let variables = [("PINBENCH_DATA", ""), ("XDG_CACHE_HOME", "relative"), ("HOME", "/home/me")];
        assert_eq!(root_with(&variables).as_deref(), Some("/home/me/.cache/pinbench/data"));
    }
}
