//! Published data sets: every form of every row of the table, as folder and as archive, on files made in that form.

use super::*;

/// One image per class, in a changed order, of random pixels.
fn batch_of(spec: &DatasetSpec, index: u64) -> Vec<Image> {
    let count = spec.classes.len();
    let mut stream = Stream::new(2, "published", &[index]);
    let labels = (0..count).map(|i| ((i * 7 + 3) % count) as u8);
    let images = labels.map(|label| Image {
        source_index: 0,
        label,
        pixels: (0..IMAGE_BYTES).map(|_| stream.bits() as u8).collect(),
    });
    images.collect()
}

/// The files of a form: its training batches, the test batch and the class names.
fn files_of(spec: &DatasetSpec, form: &PublishedForm, names: &[String]) -> Vec<(String, Vec<u8>)> {
    let encode = |index| form.format.encode(&batch_of(spec, index));
    let numbers = 1..=training_batches(form);
    let train = numbers.map(|n| (form.train.replace('*', &n.to_string()), encode(n)));
    let others = [
        (form.test.into(), encode(0)),
        (form.names.into(), form.format.encode_names(names)),
    ];
    train.chain(others).collect()
}

fn names_of(spec: &DatasetSpec) -> Vec<String> {
    spec.classes.iter().map(|name| name.to_string()).collect()
}

fn training_batches(form: &PublishedForm) -> u64 {
    if form.train.contains('*') { 11 } else { 1 }
}

#[test]
fn every_published_form_is_read_as_folder_and_as_archive() {
    for (spec, form) in (DATASETS.iter()).flat_map(|spec| spec.forms.iter().map(move |f| (spec, f)))
    {
        let temp = tempfile::tempdir().unwrap();
        let mut names = names_of(spec);
        names[1] = "another name".into();
        let files = files_of(spec, form, &names);
        let inner = folder(&temp.path().join(form.folder), &files);
        let archive = save(temp.path().join(form.archive()), &tar_gz(&files));
        let [inner, parent, archive] =
            [&inner, temp.path(), &archive].map(|path| load(path, 4, None).unwrap());
        for other in [parent, archive] {
            assert_eq!(inner.train, other.train, "{}", form.folder);
            assert_eq!(inner.val, other.val);
            assert_eq!(inner.test, other.test);
            assert_eq!(inner.source_hash, other.source_hash);
        }
        assert_eq!(inner.classes, names);

        // Label and pixels of all training batches in the order of their numbers (10 after 9), then of the test batch.
        let train: Vec<Image> = (1..=training_batches(form))
            .flat_map(|n| batch_of(spec, n))
            .collect();
        let test = batch_of(spec, 0);
        let mut hasher = blake3::Hasher::new();
        for image in train.iter().chain(&test) {
            hasher.update(&[image.label]).update(&image.pixels);
        }
        assert_eq!(inner.source_hash, hasher.finalize().to_hex().to_string());
        for (_, split, image) in inner.images() {
            let part = if split == Split::Test { &test } else { &train };
            let expected = &part[image.source_index as usize];
            assert_eq!(
                (image.label, &image.pixels),
                (expected.label, &expected.pixels)
            );
        }
    }
}

#[test]
fn binary_and_pickled_forms_of_a_data_set_give_the_same_splits_and_source_hash() {
    for spec in DATASETS {
        // As many training batches in every form.
        let loaded = spec.forms.iter().map(|form| {
            let temp = tempfile::tempdir().unwrap();
            load(
                &folder(temp.path(), &files_of(spec, form, &names_of(spec))),
                5,
                None,
            )
            .unwrap()
        });
        let loaded: Vec<Dataset> = loaded.collect();
        for data in &loaded[1..] {
            let renamed = Dataset {
                name: loaded[0].name.clone(),
                ..data.clone()
            };
            assert!(renamed == loaded[0], "{}", spec.name);
        }
    }
}

#[test]
fn an_archive_of_two_forms_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let files = CIFAR10
        .forms
        .iter()
        .flat_map(|form| files_of(&CIFAR10, form, &names_of(&CIFAR10)));
    let path = save(
        temp.path().join("both.tar.gz"),
        &tar_gz(&files.collect::<Vec<_>>()),
    );
    let text = load(&path, 0, None).unwrap_err().to_string();
    let words =
        "found a file of cifar-10-python.tar.gz, expected only files of cifar-10-binary.tar.gz";
    assert!(text.contains(words), "{text}");
}

#[test]
fn a_folder_of_several_data_sets_is_ambiguous_and_refused() {
    let temp = tempfile::tempdir().unwrap();
    for spec in DATASETS {
        let files = files_of(spec, &spec.forms[0], &[]);
        folder(&temp.path().join(spec.forms[0].folder), &files);
    }
    let text = load(temp.path(), 0, None).unwrap_err().to_string();
    assert!(text.contains("found both CIFAR-10 and CIFAR-100"), "{text}");
}

#[test]
fn the_class_count_of_the_data_set_bounds_labels_and_names_and_divides_the_limit() {
    for (spec, form) in (DATASETS.iter()).flat_map(|spec| spec.forms.iter().map(move |f| (spec, f)))
    {
        let temp = tempfile::tempdir().unwrap();
        let count = spec.classes.len();
        let names = names_of(spec);
        let files = files_of(spec, form, &names[1..]);
        let refusal = |files: &[(String, Vec<u8>)], name: &str, limit| {
            let path = folder(&temp.path().join(name), files);
            load(&path, 0, limit).unwrap_err().to_string()
        };
        let text = refusal(&files, "names", None);
        assert!(
            text.contains(&format!("found {} names", count - 1)),
            "{text}"
        );
        let files = files_of(spec, form, &names);
        let text = refusal(&files, "limit", Some(count + 1));
        assert!(
            text.contains(&format!("must be a multiple of {count}")),
            "{text}"
        );
        let mut images = batch_of(spec, 1);
        images[2].label = count as u8;
        let wrong = [(files[0].0.clone(), form.format.encode(&images))];
        let text = refusal(&[&wrong, &files[1..]].concat(), "label", None);
        let words = format!("record 2: found label {count}, expected 0 to {}", count - 1);
        assert!(text.contains(&words), "{text}");
    }
}

#[test]
fn the_documentation_and_the_download_script_name_the_archives_of_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let (readme, script) = (text("data/README.md"), text("scripts/get-cifar10"));
    for form in DATASETS.iter().flat_map(|spec| spec.forms) {
        for word in [form.url, form.sha256, form.folder, form.test, form.names] {
            assert!(readme.contains(word), "data/README.md: {word}");
        }
    }
    for word in [CIFAR10.forms[0].url, CIFAR10.forms[0].sha256] {
        assert!(script.contains(word), "scripts/get-cifar10: {word}");
    }
}
