use super::picture::fake::grey;
use super::*;
use crate::data::intake::fake::Notes;
use crate::data::npy::fake::npy;
use crate::dataset::{Content, Shape};

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Ten different grey pictures of 2×2 in each of three class folders.
    fn with_pictures() -> Self {
        let home = Self::new();
        for (class, name) in ["ant", "bee", "cat"].into_iter().enumerate() {
            for index in 0..10 {
                let pixel = (class * 10 + index) as u8;
                home.write(&format!("from/{name}/{index}.png"), &grey(2, 2, &[pixel; 4]));
            }
        }
        home
    }

    fn add(&self, name: &str, from: &str, options: &Options) -> Result<Added, AddError> {
        let mut notes = Notes::default();
        let mut watch = Watch { observer: &mut notes, is_stopped: &|| false };
        add(name, &self.path(from), options, &self.path("root"), &mut watch)
    }

    fn error(&self, from: &str, options: &Options) -> String {
        let error = self.add("pets", from, options).unwrap_err().to_string();
        let left = fs::read_dir(self.path("root")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "nothing is left of what was refused");
        error
    }
}

fn shares(share: f64) -> Options {
    Options { test: Test::Share(share), ..Options::default() }
}

fn sized(width: u32, height: u32) -> Options {
    Options { size: Some(Size { width, height }), ..Options::default() }
}

#[test]
fn class_folders_become_a_set_with_a_tenth_of_each_class_for_the_test() {
    let home = Home::with_pictures();
    let added = home.add("pets", "from", &Options::default()).unwrap();
    let named = |name: &str| (name.to_owned(), 9, 1);
    assert_eq!(added.counts, [named("ant"), named("bee"), named("cat")]);
    assert!(added.warnings.is_empty() && !added.was_there, "{added:?}");
    let (definition, train, test) = pack::read(&added.path).unwrap();
    assert_eq!(definition.digest, added.digest);
    assert_eq!(train.shape, Shape { channels: 1, height: 2, width: 2 });
    let mut pixels: Vec<u8> =
        train.pixels.chunks(4).chain(test.pixels.chunks(4)).map(|image| image[0]).collect();
    pixels.sort_unstable();
    assert_eq!(pixels, (0..30).collect::<Vec<u8>>());
    for images in [&train, &test] {
        let right = |(label, image): (&u16, &[u8])| *label == u16::from(image[0] / 10);
        assert!(images.labels.iter().zip(images.pixels.chunks(4)).all(right));
    }
    let Content::Packed(import) = definition.content else { panic!("{definition:?}") };
    assert_eq!((import.decoder.as_deref(), import.filter), (Some(DECODER), None));
    assert!(home.add("pets", "from", &Options::default()).unwrap().was_there);
}

/// The order in which a file system lists its files is another on the next machine.
#[test]
fn the_test_share_is_pinned_and_knows_names_alone() {
    let home = Home::new();
    for index in (0..10).rev() {
        for (class, name) in [(1, "b"), (0, "a")] {
            home.write(&format!("from/{name}/{index}.png"), &grey(1, 1, &[class * 10 + index]));
        }
    }
    let path = home.add("pets", "from", &shares(0.3)).unwrap().path;
    let (_, _, test) = pack::read(&path).unwrap();
    assert_eq!(test.labels, [0, 0, 0, 1, 1, 1]);
    assert_eq!(test.pixels, DRAWN);
}
const DRAWN: [u8; 6] = [3, 4, 8, 12, 15, 18];

#[test]
fn a_test_folder_is_taken_as_it_is_and_needs_the_same_classes() {
    let home = Home::with_pictures();
    home.write("test/bee/x.png", &grey(2, 2, &[99; 4]));
    home.write("test/bee/y.png", &grey(2, 2, &[13; 4]));
    let options = Options { test: Test::Folder(home.path("test")), ..Options::default() };
    let added = home.add("pets", "from", &options).unwrap();
    assert_eq!(added.counts[1], ("bee".to_owned(), 10, 2));
    let said = added.warnings.join("\n");
    assert!(said.contains("2 classes without test images: 'ant', 'cat'"), "{said}");
    assert!(
        said.contains("1 of the test images is also a training image")
            && said.contains("'bee/y.png' is 'bee/3.png'"),
        "{said}"
    );
    home.write("test/dog/x.png", &grey(2, 2, &[1; 4]));
    let error = home.add("other", "from", &options).unwrap_err().to_string();
    assert!(error.starts_with("class 'dog' is in the test folder"), "{error}");
}

/// The parts number their classes as they come: labels were joined by number, and 9 of 11 classes were others.
#[test]
fn a_test_folder_has_its_classes_by_name() {
    let home = Home::new();
    let arrays = |folder: &str, labels: &[u8], names: &str| {
        let pixels: Vec<u8> = labels.iter().map(|label| label * 20).collect();
        home.write(&format!("{folder}/x.npy"), &npy("|u1", &format!("({}, 1, 1)", labels.len()), &pixels));
        home.write(&format!("{folder}/y.npy"), &npy("|u1", &format!("({},)", labels.len()), labels));
        if !names.is_empty() {
            home.write(&format!("{folder}/classes.txt"), names.as_bytes());
        }
    };
    let add = |name: &str, from: &str, test: &str| {
        let options = Options { test: Test::Folder(home.path(test)), ..Options::default() };
        let (_, train, test) = pack::read(&home.add(name, from, &options)?.path).unwrap();
        Ok::<_, AddError>((train.labels, test.labels))
    };
    arrays("named", &[0, 1, 1], "cat\ndog\n");
    arrays("swapped", &[0, 1, 1], "dog\ncat\n");
    assert_eq!(add("swapped", "named", "swapped").unwrap().1, [1, 0, 0]);
    arrays("stranger", &[0, 1], "cat\nfox\n");
    let error = add("stranger", "named", "stranger").unwrap_err().to_string();
    assert!(error.starts_with("class 'fox' is in the test folder"), "{error}");
    arrays("plain", &[0, 1, 1], "");
    assert_eq!(add("plain", "named", "plain").unwrap().1, [0, 1, 1]);
    let numbers: Vec<u8> = (0..11).collect();
    arrays("numbers", &numbers, "");
    for number in numbers {
        home.write(&format!("folders/{number}/x.png"), &grey(1, 1, &[number * 20 + 1]));
    }
    // Folders come in the order of their names: 0, 1, 10, 2, …
    assert_eq!(add("eleven", "numbers", "folders").unwrap().1, [0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(add("again", "folders", "numbers").unwrap().1, [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 2]);
}

#[test]
fn broken_files_are_all_named_and_left_out_only_when_asked_for() {
    let home = Home::with_pictures();
    home.write("from/ant/broken.png", b"\x89PNG\r\n\x1a\n and no more");
    home.write("from/bee/notes.txt", b"text");
    home.write("from/list.csv", b"a,b");
    home.write("from/bee/.hidden", b"text");
    let error = home.error("from", &Options::default());
    assert!(error.starts_with("3 of 33 files are broken or no pictures:\n"), "{error}");
    for said in [
        "ant/broken.png: ",
        "bee/notes.txt: is neither PNG nor JPEG",
        "list.csv: lies in no class",
        "--skip-broken",
    ] {
        assert!(error.contains(said), "{error}");
    }
    let added = home.add("pets", "from", &Options { skip_broken: true, ..Options::default() }).unwrap();
    assert_eq!(added.warnings.len(), 3, "{:?}", added.warnings);
    let definition = pack::read_definition(&added.path).unwrap();
    assert_eq!(definition.import().unwrap().skipped, ["list.csv", "ant/broken.png", "bee/notes.txt"]);
}

#[test]
fn pictures_of_several_sizes_need_one_that_is_named() {
    let home = Home::with_pictures();
    home.write("from/cat/wide.png", &grey(5, 2, &[77; 10]));
    let error = home.error("from", &Options::default());
    assert!(error.contains("'ant/0.png' is 2×2, 'cat/wide.png' is 5×2, and so are 1 of 31"), "{error}");
    let added = home.add("pets", "from", &sized(3, 2)).unwrap();
    assert_eq!(added.shape, Shape { channels: 1, height: 2, width: 3 });
    assert!(added.warnings[0].contains("31 of 31 pictures had another size"), "{:?}", added.warnings);
    assert_eq!(pack::read_definition(&added.path).unwrap().import().unwrap().filter.as_deref(), Some(FILTER));
    for size in [(0, 3), (3, 5000)] {
        assert!(
            home.add("more", "from", &sized(size.0, size.1))
                .unwrap_err()
                .to_string()
                .contains("is not possible")
        );
    }
}

#[test]
fn one_picture_in_colour_gives_all_three_channels() {
    let home = Home::with_pictures();
    let colour = image::RgbImage::from_pixel(2, 2, image::Rgb([1, 2, 3]));
    home.write("from/cat/z.png", &picture::fake::file(&colour.into(), image::ImageFormat::Png));
    let added = home.add("pets", "from", &Options::default()).unwrap();
    assert_eq!(added.shape.channels, 3);
    let (_, train, test) = pack::read(&added.path).unwrap();
    let images: Vec<&[u8]> = train.pixels.chunks(12).chain(test.pixels.chunks(12)).collect();
    assert!(images.contains(&&[1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3][..]) && images.contains(&&[7; 12][..]));
}

#[test]
fn a_class_without_pictures_is_a_warning_and_one_class_alone_an_error() {
    let home = Home::with_pictures();
    fs::create_dir(home.path("from/dog")).unwrap();
    let added = home.add("pets", "from", &Options::default()).unwrap();
    assert_eq!(added.counts[3], ("dog".to_owned(), 0, 0));
    assert!(added.warnings[0].contains("1 class without training images: 'dog'"), "{:?}", added.warnings);
    home.write("one/ant/0.png", &grey(2, 2, &[0; 4]));
    assert!(
        home.add("one", "one", &Options::default()).unwrap_err().to_string().contains("is 1, expected 2 to")
    );
}

#[test]
fn parts_in_place_of_classes_are_an_error_that_says_how_to_name_them() {
    let home = Home::new();
    for part in ["train", "test"] {
        home.write(&format!("from/{part}/ant/0.png"), &grey(1, 1, &[0]));
    }
    let error = home.error("from", &Options::default());
    assert!(error.contains("FOLDER/train --test FOLDER/test"), "{error}");
    home.write("empty/README", b"text");
    assert!(home.error("empty", &Options::default()).contains("neither class folders nor arrays"));
    assert!(home.error("nowhere", &Options::default()).starts_with("cannot read '"));
    let error = home.add("Pets", "from", &Options::default()).unwrap_err().to_string();
    assert!(error.starts_with("'Pets' is no name for a data set"), "{error}");
    let error = home.add("mnist", "from", &Options::default()).unwrap_err().to_string();
    assert!(error.contains("is built in"), "{error}");
}

#[test]
fn numpy_arrays_with_channels_first_or_last_are_the_same_set() {
    let home = Home::new();
    // Two images a class of 1×2 in three colours: pixel by pixel, and plane by plane.
    let last: Vec<u8> = (0..8).flat_map(|image| [1, 2, 3, 4, 5, 6].map(|value| image * 10 + value)).collect();
    let first: Vec<u8> =
        (0..8).flat_map(|image| [1, 4, 2, 5, 3, 6].map(|value| image * 10 + value)).collect();
    let labels: Vec<u8> = [0_i64, 1, 2, 3, 0, 1, 2, 3].iter().flat_map(|label| label.to_le_bytes()).collect();
    for (folder, dims, values) in [("last", "(8, 1, 2, 3)", &last), ("first", "(8, 3, 1, 2)", &first)] {
        home.write(&format!("{folder}/x_train.npy"), &npy("|u1", dims, values));
        home.write(&format!("{folder}/y_train.npy"), &npy("<i8", "(8,)", &labels));
        home.write(&format!("{folder}/classes.txt"), b"ant\nbee\ncat\ndog\n");
    }
    let digest = |folder| home.add(folder, folder, &shares(0.5)).unwrap().digest;
    assert_eq!(digest("last"), digest("first"));
    home.write("last/classes.txt", b"eel\nbee\ncat\ndog\n");
    let error = home.add("last", "last", &shares(0.5)).unwrap_err().to_string();
    assert!(error.contains("other names of classes (ant, bee, cat, dog)"), "{error}");
    let (definition, train, _) = pack::read(&home.path("root/last.pin")).unwrap();
    assert_eq!(definition.classes, ["ant", "bee", "cat", "dog"]);
    assert_eq!(train.pixels[..6].iter().map(|value| value % 10).collect::<Vec<_>>(), [1, 4, 2, 5, 3, 6]);
    home.write("last/y_train.npy", &npy("<i8", "(7,)", &labels[..56]));
    let error = home.add("more", "last", &shares(0.5)).unwrap_err().to_string();
    assert!(error.contains("holds 8 images, there are 7 labels"), "{error}");
}

#[test]
fn idx_and_cifar_files_are_read_with_their_test_parts() {
    let home = Home::new();
    let idx = |count: u8| {
        let header = [0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 2, 0, 0, 0, 1];
        header.into_iter().chain(0..2 * count).collect::<Vec<u8>>()
    };
    let labels = |labels: &[u8]| [&[0, 0, 8, 1, 0, 0, 0, labels.len() as u8][..], labels].concat();
    home.write("idx/train-images-idx3-ubyte", &idx(4));
    home.write("idx/train-labels-idx1-ubyte.gz", &archive_gzip(&labels(&[0, 1, 2, 1])));
    home.write("idx/t10k-images-idx3-ubyte", &idx(2));
    home.write("idx/t10k-labels-idx1-ubyte", &labels(&[2, 0]));
    let added = home.add("letters", "idx", &Options::default()).unwrap();
    assert_eq!(added.counts, [("0".to_owned(), 1, 1), ("1".to_owned(), 2, 0), ("2".to_owned(), 1, 1)]);

    // Whoever unpacks a file may keep it.
    home.write("idx/train-images-idx3-ubyte.gz", &archive_gzip(&idx(4)));
    assert!(home.add("letters", "idx", &Options::default()).unwrap().was_there);

    let record = |labels: &[u8], value: u8| [labels, &[value; 3072]].concat();
    home.write("hundred/train.bin", &[record(&[1, 99], 7), record(&[0, 3], 8)].concat());
    home.write("hundred/test.bin", &record(&[4, 5], 9));
    let added = home.add("hundred", "hundred", &Options::default()).unwrap();
    assert_eq!((added.counts.len(), added.counts[99].1, added.counts[5].2), (100, 1, 1));
    home.write("hundred/test.bin", b"cut");
    let error = home.add("cut", "hundred", &Options::default()).unwrap_err().to_string();
    assert!(error.contains("3 bytes are not whole CIFAR records of 3074 bytes"), "{error}");
}

fn archive_gzip(bytes: &[u8]) -> Vec<u8> {
    crate::data::archive::fake::gzip(bytes)
}

#[test]
fn a_set_is_handed_on_as_one_file_under_any_name() {
    let home = Home::with_pictures();
    let added = home.add("pets", "from", &Options::default()).unwrap();
    fs::rename(&added.path, home.path("pets.pin")).unwrap();
    for options in [sized(4, 4), shares(0.5), Options { skip_broken: true, ..Options::default() }] {
        assert!(home.error("pets.pin", &options).contains("packed already: --size"));
    }
    let again = home.add("animals", "pets.pin", &Options::default()).unwrap();
    assert_eq!((again.digest, &again.counts), (added.digest, &added.counts));
    let definition = pack::read_definition(&home.path("root/animals.pin")).unwrap();
    assert_eq!(
        (definition.name.as_str(), definition.import().unwrap().format.as_str()),
        ("animals", "class folders")
    );
    // Another content under a name that is taken.
    home.write("from/ant/more.png", &grey(2, 2, &[200; 4]));
    let error = home.add("animals", "from", &Options::default()).unwrap_err().to_string();
    assert!(
        error.contains("there is a set 'animals' already") && error.contains(&added.digest.short()),
        "{error}"
    );
    assert_eq!(pack::read_definition(&home.path("root/animals.pin")).unwrap().digest, added.digest);
}

#[test]
fn a_stop_leaves_nothing_and_what_a_killed_one_left_goes() {
    let home = Home::with_pictures();
    home.write("root/.pets.pin.tmp-abc", b"half");
    let mut notes = Notes::default();
    let mut watch = Watch { observer: &mut notes, is_stopped: &|| true };
    let stopped = add("pets", &home.path("from"), &Options::default(), &home.path("root"), &mut watch);
    assert!(matches!(stopped, Err(AddError::Interrupted)));
    assert!(!home.path("root/pets.pin").exists());
    home.add("pets", "from", &Options::default()).unwrap();
    let left: Vec<_> =
        fs::read_dir(home.path("root")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["pets.pin"]);
}

/// Two classes of one name, and a name of two lines, went into tables and files of one line each.
#[test]
fn a_class_needs_a_name_of_its_own_and_of_one_line() {
    let home = Home::with_pictures();
    fs::rename(home.path("from/cat"), home.path("from/c\nat")).unwrap();
    let error = home.error("from", &Options::default());
    assert!(error.contains(r#"is "c\nat": expected a name of one line"#), "{error}");
    home.write("arrays/x.npy", &npy("|u1", "(4, 2, 2)", &[0; 16]));
    home.write("arrays/y.npy", &npy("|u1", "(4,)", &[0, 0, 1, 1]));
    home.write("arrays/classes.txt", b"\xef\xbb\xbfant\n\nbee\n");
    // A name was dropped to the label before it.
    let error = home.add("pets", "arrays", &Options::default()).unwrap_err().to_string();
    assert!(error.contains("classes.txt' has nothing in line 2"), "{error}");
    home.write("arrays/classes.txt", b"ant\nant\n");
    let error = home.error("arrays", &shares(0.5));
    assert!(error.contains("class 2 of") && error.contains(r#""ant""#), "{error}");
}

/// It was waited for, for ever.
#[test]
fn a_pipe_is_no_picture_and_no_set() {
    let home = Home::with_pictures();
    for pipe in ["from/cat/pipe.png", "pipe.pin"] {
        assert!(std::process::Command::new("mkfifo").arg(home.path(pipe)).status().unwrap().success());
    }
    let error = home.error("from", &Options::default());
    assert!(error.contains("cat/pipe.png: is no file"), "{error}");
    assert!(home.error("pipe.pin", &Options::default()).contains("pipe.pin' is no file"));
}

#[test]
fn a_share_that_leaves_nothing_is_refused() {
    let home = Home::with_pictures();
    assert!(home.error("from", &shares(0.01)).contains("no images are left to test on: there are 30"));
    assert!(home.error("from", &shares(0.99)).contains("no images are left to train on"));
    assert!(home.error("from", &shares(1.0)).contains("a test share of 1 is not possible"));
}
