//! Downloads from a server that cuts, resumes, lies and refuses.

use std::fs;

use tempfile::TempDir;

use super::loopback::{Answer, Server};
use super::*;
use crate::data::archive::fake::{gzip, tar};
use crate::data::intake::fake::missing_after;
use crate::dataset::pin::{self, Spec};

const CONTENT: &[u8] = b"the content of the only file, which is all that counts in the end";

fn spec() -> Spec {
    pin::fake::spec("set", &[("one", CONTENT)])
}

fn supply(server: &Server, home: &TempDir) -> Result<Vec<&'static str>, String> {
    let mirror = Mirror::new(server.base.clone(), Form::GzipFiles);
    missing_after(spec(), home, |intake| mirror.supply(intake))
}

/// Leaves `bytes` as an unfinished download of the only file.
fn leave_part(server: &Server, home: &TempDir, bytes: &[u8]) {
    let part = part_path(&home.path().join("parts"), &format!("{}/one.gz", server.base));
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    fs::write(part, bytes).unwrap();
}

fn parts_left(home: &TempDir) -> usize {
    fs::read_dir(home.path().join("parts")).map_or(0, Iterator::count)
}

#[test]
fn each_file_is_fetched_gzipped_and_its_part_removed() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(vec![Answer::whole(&gzip(CONTENT))]);
    assert_eq!(supply(&server, &home), Ok(vec![]));
    assert_eq!(server.requests(), ["/data/one.gz"]);
    assert_eq!(parts_left(&home), 0);
}

#[test]
fn an_archive_is_fetched_once_for_all_files() {
    let home = tempfile::tempdir().unwrap();
    let archive = gzip(&tar(&[("folder/one", CONTENT)]));
    let server = Server::start(vec![Answer::whole(&archive)]);
    let mirror = Mirror::new(server.base.clone(), Form::TarGz("all.tar.gz"));
    assert_eq!(missing_after(spec(), &home, |intake| mirror.supply(intake)), Ok(vec![]));
    assert_eq!(server.requests(), ["/data/all.tar.gz"]);
}

#[test]
fn a_cut_connection_is_resumed_where_it_broke() {
    let home = tempfile::tempdir().unwrap();
    let zipped = gzip(CONTENT);
    let server = Server::start(vec![Answer::cut(&zipped, 20), Answer::rest(&zipped, 20)]);
    assert_eq!(supply(&server, &home), Ok(vec![]));
    assert_eq!(server.requests(), ["/data/one.gz", "/data/one.gz bytes=20-"]);
}

#[test]
fn what_a_killed_fetch_left_is_resumed_by_the_next() {
    let home = tempfile::tempdir().unwrap();
    let zipped = gzip(CONTENT);
    let server = Server::start(vec![Answer::rest(&zipped, 7)]);
    leave_part(&server, &home, &zipped[..7]);
    assert_eq!(supply(&server, &home), Ok(vec![]));
    assert_eq!(server.requests(), ["/data/one.gz bytes=7-"]);
}

#[test]
fn a_part_that_was_complete_already_is_used() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(vec![Answer::status("416 Range Not Satisfiable")]);
    leave_part(&server, &home, &gzip(CONTENT));
    assert_eq!(supply(&server, &home), Ok(vec![]));
}

#[test]
fn a_server_that_cannot_resume_sends_the_file_from_the_start() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(vec![Answer::whole(&gzip(CONTENT))]);
    leave_part(
        &server,
        &home,
        b"something else that is longer than the whole file, so that it must be cut off \
        before the new one is written over it, or its end would remain as trailing garbage",
    );
    assert_eq!(supply(&server, &home), Ok(vec![]));
}

#[test]
fn a_stale_part_is_refused_by_the_pin_and_fetched_from_the_start() {
    let home = tempfile::tempdir().unwrap();
    let zipped = gzip(CONTENT);
    let server = Server::start(vec![Answer::rest(&zipped, 12), Answer::whole(&zipped)]);
    leave_part(&server, &home, b"stale bytes!");
    assert_eq!(supply(&server, &home), Ok(vec![]));
    assert_eq!(server.requests(), ["/data/one.gz bytes=12-", "/data/one.gz"]);
}

#[test]
fn a_server_that_resumes_at_another_place_is_asked_from_the_start() {
    let home = tempfile::tempdir().unwrap();
    let zipped = gzip(CONTENT);
    let server = Server::start(vec![Answer::rest(&zipped, 9), Answer::whole(&zipped)]);
    leave_part(&server, &home, &zipped[..7]);
    assert_eq!(supply(&server, &home), Ok(vec![]));
}

#[test]
fn a_server_that_keeps_cutting_fails_after_two_fruitless_tries_and_keeps_the_part() {
    let home = tempfile::tempdir().unwrap();
    let zipped = gzip(CONTENT);
    let server =
        Server::start(vec![Answer::cut(&zipped, 20), Answer::nothing_from(20), Answer::nothing_from(20)]);
    let reason = supply(&server, &home).unwrap_err();
    assert!(reason.starts_with("cut off after 20 B"), "{reason}");
    assert_eq!(parts_left(&home), 1);
}

#[test]
fn a_missing_file_is_refused_at_once_with_the_status() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(vec![Answer::status("404 Not Found")]);
    assert_eq!(supply(&server, &home), Err("answered 404 Not Found".to_owned()));
}

#[test]
fn an_error_page_in_place_of_the_file_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(vec![Answer::whole(b"<html>Please log in to this network</html>")]);
    let reason = supply(&server, &home).unwrap_err();
    assert!(reason.starts_with("one.gz: 'one': "), "{reason}");
    assert_eq!(parts_left(&home), 0);
}

#[test]
fn other_content_is_refused_with_expected_and_found() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(vec![Answer::whole(&gzip(&CONTENT.to_ascii_uppercase()))]);
    let reason = supply(&server, &home).unwrap_err();
    assert!(reason.contains("'one' has SHA-256") && reason.contains("expected"), "{reason}");
}

#[test]
fn a_body_far_above_the_expected_size_is_refused_announced_or_not() {
    let giant = vec![0; 2 << 20];
    for answer in [Answer::whole(&giant), Answer::endless(giant.clone())] {
        let home = tempfile::tempdir().unwrap();
        let server = Server::start(vec![answer]);
        let reason = supply(&server, &home).unwrap_err();
        assert!(reason.contains("expected at most 1.0 MiB"), "{reason}");
    }
}

#[test]
fn a_host_that_refuses_connections_fails_at_once() {
    let home = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mirror = Mirror::new(format!("http://127.0.0.1:{port}"), Form::GzipFiles);
    let reason = missing_after(spec(), &home, |intake| mirror.supply(intake)).unwrap_err();
    assert!(reason.contains("refused"), "{reason}");
}
