//! Packages of a Debian-like distribution, fetched without root by the user's own `apt-get`.

use std::process::{Command, Stdio};

use crate::data::intake::{Intake, SourceError};
use crate::data::source::{Source, client, supply_tar};

/// A package that is downloaded and read, never installed.
pub(super) struct DebianPackage {
    package: &'static str,
}

impl DebianPackage {
    pub(super) fn new(package: &'static str) -> Self {
        Self { package }
    }

    fn read_package(&self, intake: &mut Intake<'_>) -> Result<(), SourceError> {
        // dpkg-deb knows every compression that Debian uses, and hands the files on as a plain tar stream.
        let package = client::product(intake.scratch(), ".deb")?;
        let mut command = Command::new("dpkg-deb");
        command
            .arg("--fsys-tarfile")
            .arg(package)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| client::refuse_spawn("dpkg-deb", &error))?;
        // Piped just above, so it is there; and taken, so that the child ends when we stop reading.
        let supplied = child.stdout.take().map_or(Ok(()), |files| supply_tar(files, intake));
        // Its exit status says less than the pins do.
        child.wait()?;
        supplied
    }
}

impl Source for DebianPackage {
    fn describe(&self) -> String {
        format!("`apt-get download {}`", self.package)
    }

    fn supply(&self, intake: &mut Intake<'_>) -> Result<(), SourceError> {
        let patience = ["-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20"];
        let args = [&["download", self.package][..], &patience].concat();
        client::run("apt-get", &args, intake).map_err(|error| match error {
            SourceError::Refused(reason) => SourceError::Refused(format!(
                "{reason} (when the package lists are old or missing, run `apt-get update` as root)"
            )),
            fatal => fatal,
        })?;
        self.read_package(intake)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::data::archive::fake::{gzip, tar};
    use crate::data::intake::fake::missing_after;
    use crate::dataset::pin;

    /// A minimal binary package: an `ar` archive of the format's version, a control archive and the files.
    fn deb(files: &[u8]) -> Vec<u8> {
        let control = gzip(&tar(&[("./control", b"Package: x\n")]));
        let mut bytes = b"!<arch>\n".to_vec();
        for (name, content) in
            [("debian-binary", &b"2.0\n"[..]), ("control.tar.gz", &control), ("data.tar.gz", &gzip(files))]
        {
            bytes.extend(
                format!("{name:<16}0           0     0     100644  {:<10}`\n", content.len()).bytes(),
            );
            bytes.extend(content);
            bytes.resize(bytes.len().next_multiple_of(2), b'\n');
        }
        bytes
    }

    #[test]
    fn files_are_read_out_of_a_package_without_installing_it() {
        let asked = Command::new("dpkg-deb").arg("--version").stdout(Stdio::null()).status();
        asked.expect(
            "this test needs 'dpkg-deb': install the package dpkg, or leave it out with `-- --skip debian`",
        );
        let home = tempfile::tempdir().unwrap();
        let spec = pin::fake::spec("set", &[("one", b"1"), ("two", b"22")]);
        let files = tar(&[("./usr/share/datasets/x/one.gz", &gzip(b"1")), ("./usr/share/x/two", b"22")]);
        let missing = missing_after(spec, &home, |intake| {
            fs::write(intake.scratch().join("x_1_all.deb"), deb(&files)).unwrap();
            DebianPackage::new("x").read_package(intake)
        });
        assert_eq!(missing, Ok(vec![]));
    }
}
