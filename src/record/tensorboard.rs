//! A run as TensorBoard reads it: events in the framing of TensorFlow's records, written without TensorFlow.
//!
//! A record is its length, a checksum of that, the data, and a checksum of those. The data are an `Event` of
//! tensorboard/compat/proto/event.proto in the encoding of protocol buffers; hyperparameters are what
//! tensorboard/plugins/hparams/plugin_data.proto calls a session. `just test-tensorboard` has TensorBoard's own reader read them.

use jiff::Timestamp;
use serde_json::Value;

use crate::record::LoadedRun;
use crate::row::Split;

/// Name of the file of a run; TensorBoard looks for the part before the run.
pub fn file_name(run: &LoadedRun) -> String {
    format!("events.out.tfevents.{}.pinbench.{}", started(run) as u64, run.record.run)
}

/// Field of an event.
const SUMMARY: u32 = 5;

/// Scalars of every step and epoch, and the values of config, plan and seed as hyperparameters.
pub fn events(run: &LoadedRun) -> Vec<u8> {
    let (start, mut bytes) = (started(run), Vec::new());
    record(&mut bytes, &event(start, 0, 3, b"brain.Event:2"));
    let summary = |value: Vec<u8>| message(1, &value);
    record(&mut bytes, &event(start, 0, SUMMARY, &summary(session_start(run, start))));
    let (mut passed, mut at) = (start, Vec::new());
    for row in &run.steps {
        passed += row.times.total_ns as f64 / 1e9;
        at.push(passed);
        let value = [
            summary(scalar("train/loss", row.loss)),
            summary(scalar("time/step_ms", row.times.total_ns as f64 / 1e6)),
        ];
        record(&mut bytes, &event(passed, row.step as i64, SUMMARY, &value.concat()));
    }
    for row in run.epochs.iter().filter(|row| row.split != Split::Train) {
        let last = run.steps.iter().rposition(|step| step.epoch <= row.epoch);
        let step = last.map_or(i64::from(row.epoch), |last| run.steps[last].step as i64);
        let name = |what: &str| format!("{}/{what}", row.split);
        let value =
            [summary(scalar(&name("loss"), row.loss)), summary(scalar(&name("accuracy"), row.accuracy))];
        record(&mut bytes, &event(last.map_or(passed, |last| at[last]), step, SUMMARY, &value.concat()));
    }
    record(&mut bytes, &event(passed, 0, SUMMARY, &summary(session_end(passed))));
    bytes
}

/// Seconds since 1970; a record whose start cannot be read is from the beginning of time.
fn started(run: &LoadedRun) -> f64 {
    run.record.started.parse::<Timestamp>().map_or(0.0, |started| started.as_millisecond() as f64 / 1e3)
}

fn event(wall: f64, step: i64, field: u32, content: &[u8]) -> Vec<u8> {
    [double(1, wall), varint(2, step as u64), message(field, content)].concat()
}

fn scalar(tag: &str, value: f64) -> Vec<u8> {
    [message(1, tag.as_bytes()), float(2, value as f32)].concat()
}

const PLUGIN: &[u8] = b"hparams";

/// The hyperparameters of a session: what config and plan say, a key each, and the seed.
fn session_start(run: &LoadedRun, start: f64) -> Vec<u8> {
    let record = &run.record;
    let mut values = Vec::new();
    for (of, tree) in
        [("", serde_json::to_value(&record.trial.config)), ("plan.", serde_json::to_value(&record.plan))]
    {
        // A config and a plan were read from JSON.
        leaves(of, &tree.unwrap_or_default(), &mut values);
    }
    values.push(("seed".to_owned(), double(2, record.trial.seed.0 as f64)));
    let entry = |(key, value): &(String, Vec<u8>)| {
        message(1, &[message(1, key.as_bytes()), message(2, value)].concat())
    };
    let mut session: Vec<u8> = values.iter().flat_map(entry).collect();
    session.extend(message(4, record.trial_id.short().as_bytes()));
    session.extend(double(5, start));
    plugin_value("_hparams_/session_start_info", &message(3, &session))
}

fn session_end(end: f64) -> Vec<u8> {
    const SUCCESS: u64 = 1;
    plugin_value("_hparams_/session_end_info", &message(4, &[varint(1, SUCCESS), double(2, end)].concat()))
}

/// A value that is for the plugin alone: its tensor has no element.
fn plugin_value(tag: &str, content: &[u8]) -> Vec<u8> {
    const FLOAT: u64 = 1;
    let plugin = [message(1, PLUGIN), message(2, content)].concat();
    let no_element = message(2, &varint(1, 0));
    let tensor = [varint(1, FLOAT), message(2, &no_element)].concat();
    [message(1, tag.as_bytes()), message(8, &tensor), message(9, &message(1, &plugin))].concat()
}

/// Numbers, texts and truth values under dotted keys, as values of google/protobuf/struct.proto.
fn leaves(of: &str, tree: &Value, found: &mut Vec<(String, Vec<u8>)>) {
    let value = match tree {
        Value::Object(inner) => {
            let dot = if of.is_empty() || of.ends_with('.') { "" } else { "." };
            return inner.iter().for_each(|(key, value)| leaves(&format!("{of}{dot}{key}"), value, found));
        }
        Value::Null => return,
        Value::Number(number) => double(2, number.as_f64().unwrap_or(f64::NAN)),
        Value::Bool(truth) => varint(4, u64::from(*truth)),
        Value::String(text) => message(3, text.as_bytes()),
        Value::Array(_) => message(3, tree.to_string().as_bytes()),
    };
    found.push((of.to_owned(), value));
}

fn key(field: u32, wire: u32) -> Vec<u8> {
    bare_varint(u64::from((field << 3) | wire))
}

fn bare_varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn varint(field: u32, value: u64) -> Vec<u8> {
    [key(field, 0), bare_varint(value)].concat()
}

fn double(field: u32, value: f64) -> Vec<u8> {
    [key(field, 1), value.to_le_bytes().to_vec()].concat()
}

fn float(field: u32, value: f32) -> Vec<u8> {
    [key(field, 5), value.to_le_bytes().to_vec()].concat()
}

fn message(field: u32, content: &[u8]) -> Vec<u8> {
    [key(field, 2), bare_varint(content.len() as u64), content.to_vec()].concat()
}

fn record(bytes: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    bytes.extend(length);
    bytes.extend(masked_crc(&length).to_le_bytes());
    bytes.extend(data);
    bytes.extend(masked_crc(data).to_le_bytes());
}

/// TensorFlow's, so that a checksum of data that hold checksums is no weak one.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Castagnoli's polynomial, bit by bit: an event has some dozens of bytes.
fn crc32c(data: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !data.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::samples;

    /// RFC 3720, B.4.
    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn records_follow_each_other_and_the_first_names_the_version() {
        let rows = samples::rows(&samples::steps(3), &samples::epochs());
        let run = LoadedRun::new(samples::record(0, "run-a"), rows);
        let bytes = events(&run);
        let (mut at, mut records) = (0, Vec::new());
        while at < bytes.len() {
            let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
            assert_eq!(number(at + 8), masked_crc(&bytes[at..at + 8]));
            let data = &bytes[at + 12..at + 12 + length];
            assert_eq!(number(at + 12 + length), masked_crc(data));
            records.push(data);
            at += 16 + length;
        }
        // Version, session, three steps, three splits but that of the training, the session's end.
        assert_eq!(records.len(), 1 + 1 + 3 + 3 + 1);
        assert!(records[0].ends_with(b"brain.Event:2"));
        // Field 1 of an event, a double: the evaluation of an epoch is at the time of its last step.
        let wall = |record: &[u8]| f64::from_le_bytes(record[1..9].try_into().unwrap());
        let measured: Vec<f64> = run
            .epochs
            .iter()
            .filter(|row| row.split != Split::Train)
            .map(|row| {
                let last = run.steps.iter().filter(|step| step.epoch <= row.epoch);
                started(&run) + last.map(|step| step.times.total_ns as f64 / 1e9).sum::<f64>()
            })
            .collect();
        for (record, wanted) in records[5..8].iter().zip(measured) {
            assert!((wall(record) - wanted).abs() < 1e-6, "{} {wanted}", wall(record));
        }
        let has = |record: &[u8], text: &str| record.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(
            has(records[1], "optim.lr") && has(records[1], "plan.threads") && has(records[2], "train/loss")
        );
        assert_eq!(file_name(&run), "events.out.tfevents.1767323045.pinbench.run-a");
    }
}
